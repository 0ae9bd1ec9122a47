//! Parameters by position, with their types. What is of the wrong type, or one too many, is CME 50.

use sectag_proto::at::Parameter;

use crate::Cme;

#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(pub(super) &'a [Parameter]);

impl<'a> Arguments<'a> {
    /// Refuses more than `max` parameters.
    pub(super) const fn at_most(self, max: usize) -> Result<(), Cme> {
        if self.0.len() > max {
            return Err(Cme::PARAMETERS);
        }
        Ok(())
    }

    /// An unquoted decimal number; `None` when omitted.
    pub(super) fn number(self, index: usize) -> Result<Option<u32>, Cme> {
        match self.0.get(index) {
            None | Some(Parameter::Omitted) => Ok(None),
            Some(Parameter::Bare(text))
                if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) =>
            {
                text.parse().map(Some).map_err(|_| Cme::PARAMETERS)
            }
            Some(_) => Err(Cme::PARAMETERS),
        }
    }

    /// A number that must be there.
    pub(super) fn required(self, index: usize) -> Result<u32, Cme> {
        self.number(index)?.ok_or(Cme::PARAMETERS)
    }

    /// A quoted text; `None` when omitted.
    pub(super) fn text(self, index: usize) -> Result<Option<&'a str>, Cme> {
        match self.0.get(index) {
            None | Some(Parameter::Omitted) => Ok(None),
            Some(Parameter::Text(text)) => Ok(Some(text)),
            Some(Parameter::Bare(_)) => Err(Cme::PARAMETERS),
        }
    }
}
