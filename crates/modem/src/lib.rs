//! The virtual modem: AT in, AT out, credentials under security tags
