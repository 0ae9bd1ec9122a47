//! The block option of RFC 7959 §2.2: number, more, size in at most three bytes.

use std::fmt;

/// The size of a block: a power of two from 16 to 1024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u8);

impl BlockSize {
    /// 16 bytes, the smallest there is.
    pub const B16: BlockSize = BlockSize(0);
    /// 32 bytes.
    pub const B32: BlockSize = BlockSize(1);
    /// 64 bytes.
    pub const B64: BlockSize = BlockSize(2);
    /// 128 bytes.
    pub const B128: BlockSize = BlockSize(3);
    /// 256 bytes, what a modem's client suggests unless told otherwise (spec/device-protocol §6.2).
    pub const B256: BlockSize = BlockSize(4);
    /// 512 bytes.
    pub const B512: BlockSize = BlockSize(5);
    /// 1024 bytes, the largest there is.
    pub const B1024: BlockSize = BlockSize(6);

    /// The size of exactly so many bytes; `None` if no block has it.
    pub fn from_bytes(bytes: usize) -> Option<BlockSize> {
        (0..=6).map(BlockSize).find(|size| size.bytes() == bytes)
    }

    /// By exponent as on the wire; 7 is reserved (RFC 7959 §2.2).
    pub fn from_szx(szx: u8) -> Option<BlockSize> {
        (szx <= 6).then_some(BlockSize(szx))
    }

    /// The exponent on the wire, 0 to 6.
    pub fn szx(self) -> u8 {
        self.0
    }

    /// Bytes of one block.
    pub fn bytes(self) -> usize {
        16 << self.0
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes())
    }
}

/// The value of Block1 or Block2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Which block, counted in blocks of `size`.
    pub(crate) number: u32,
    /// Whether more follow.
    pub(crate) more: bool,
    pub(crate) size: BlockSize,
}

/// The number has twenty bits.
const NUMBER_MAX: u32 = (1 << 20) - 1;

impl Block {
    /// Where this block begins in the body.
    pub(crate) fn offset(self) -> usize {
        // 2^20 blocks of 2^10 bytes fit 32 bits.
        self.number as usize * self.size.bytes()
    }

    /// The block at this offset; `None` beyond the twenty bits, or between two blocks.
    pub(crate) fn at(offset: usize, more: bool, size: BlockSize) -> Option<Block> {
        let number = u32::try_from(offset / size.bytes()).ok()?;
        (number <= NUMBER_MAX && offset.is_multiple_of(size.bytes())).then_some(Block {
            number,
            more,
            size,
        })
    }

    /// `None` if it is longer than three bytes or of the reserved size.
    pub(crate) fn decode(value: &[u8]) -> Option<Block> {
        if value.len() > 3 {
            return None;
        }
        let bits = value
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        Some(Block {
            number: bits >> 4,
            more: bits & 8 != 0,
            size: BlockSize::from_szx((bits & 7) as u8)?,
        })
    }

    /// As few bytes as possible (RFC 7252 §3.2); block 0 of 16 bytes is none at all.
    pub(crate) fn encode(self) -> Vec<u8> {
        uint(self.number << 4 | u32::from(self.more) << 3 | u32::from(self.size.szx()))
    }
}

/// An unsigned integer in as few bytes as possible (RFC 7252 §3.2).
pub(crate) fn uint(value: u32) -> Vec<u8> {
    let skip = (value.leading_zeros() / 8) as usize;
    value.to_be_bytes()[skip..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7959 §3: 2:0/0/64 is one byte, 1:0/1/128 and 1:2/0/128.
        let encode = |number, more, size| Block { number, more, size }.encode();
        assert_eq!(encode(0, false, BlockSize::B64), [0x02]);
        assert_eq!(encode(0, true, BlockSize::B128), [0x0b]);
        assert_eq!(encode(2, false, BlockSize::B128), [0x23]);
        assert_eq!(encode(0, false, BlockSize::B16), []);
        assert_eq!(encode(4096, true, BlockSize::B1024), [0x01, 0x00, 0x0e]);
    }

    #[test]
    fn every_value_comes_back() {
        for number in [0, 1, 15, 16, 4095, 4096, NUMBER_MAX] {
            for szx in 0..=6 {
                for more in [false, true] {
                    let block = Block {
                        number,
                        more,
                        size: BlockSize(szx),
                    };
                    assert_eq!(Block::decode(&block.encode()), Some(block));
                }
            }
        }
    }

    #[test]
    fn the_reserved_size_and_four_bytes_are_refused() {
        assert_eq!(Block::decode(&[0x07]), None);
        assert_eq!(Block::decode(&[0, 0, 0, 1]), None);
        assert_eq!(Block::decode(&[]).map(Block::offset), Some(0));
    }

    #[test]
    fn a_block_begins_at_a_multiple_of_its_size() {
        assert_eq!(
            Block::at(512, true, BlockSize::B256).map(|block| block.number),
            Some(2)
        );
        assert_eq!(Block::at(100, true, BlockSize::B256), None);
        assert_eq!(Block::at(16 << 20, true, BlockSize::B16), None);
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(BlockSize::from_bytes(256), Some(BlockSize::B256));
        assert_eq!(BlockSize::from_bytes(1024).map(BlockSize::szx), Some(6));
        assert_eq!(BlockSize::from_bytes(300), None);
        assert_eq!(BlockSize::from_bytes(2048), None);
    }
}
