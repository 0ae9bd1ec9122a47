//! sectag
fn main() {}
