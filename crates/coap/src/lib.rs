//! CoAP without IO: reliability, deduplication, block-wise transfer.
