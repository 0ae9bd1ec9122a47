//! What is lost, and when.

/// Where something can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrow {
    /// The fetch does not reach the service.
    Fetch,
    /// The service answers; the batch does not reach the device.
    Batch,
    /// The report does not reach the service.
    Report,
    /// The service settles; its acknowledgement does not reach the device.
    Acknowledgement,
    /// The device loses power before its next step.
    Power,
}

impl Arrow {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Fetch,
        Self::Batch,
        Self::Report,
        Self::Acknowledgement,
        Self::Power,
    ];
}

/// Which half of an exchange is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The request.
    There,
    /// The answer.
    Back,
}

/// A plan of losses: none, exactly one, or by chance from a seed.
#[derive(Debug, Clone)]
pub struct Cuts(Plan);

#[derive(Debug, Clone)]
enum Plan {
    Nothing,
    One { arrow: Arrow, pass: u32 },
    Chance { rng: Rng, left: u32 },
}

impl Cuts {
    /// Nothing is lost.
    pub const fn none() -> Self {
        Self(Plan::Nothing)
    }

    /// The `pass`-th time (from 1) that `arrow` is used, it is cut.
    pub const fn one(arrow: Arrow, pass: u32) -> Self {
        Self(Plan::One { arrow, pass })
    }

    /// About every fourth message and every fortieth step of the device, `most` times in all.
    pub const fn chance(seed: u64, most: u32) -> Self {
        Self(Plan::Chance {
            rng: Rng(seed),
            left: most,
        })
    }

    /// Whether this use of the arrow is lost.
    pub fn cuts(&mut self, used: Arrow) -> bool {
        match &mut self.0 {
            Plan::Nothing => false,
            Plan::One { arrow, pass } => {
                let cut = *arrow == used && *pass == 1;
                if *arrow == used {
                    *pass = pass.saturating_sub(1);
                }
                cut
            }
            Plan::Chance { rng, left } => {
                let one_of = if used == Arrow::Power { 40 } else { 4 };
                let cut = *left > 0 && rng.below(one_of) == 0;
                *left -= u32::from(cut);
                cut
            }
        }
    }
}

/// SplitMix64: small, and the same on every machine. Never for keys.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
