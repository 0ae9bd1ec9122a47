//! Who signed what: keys, certificate authorities, CSRs, chains; bytes in, bytes out
