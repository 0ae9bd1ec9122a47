//! Methods and response codes: one byte, three bits of class and five of detail (RFC 7252 §3, §12.1).

use std::fmt;

/// A response code, printed as `2.05`. Unknown codes survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

impl Code {
    /// 2.01
    pub const CREATED: Code = Code::new(2, 1);
    /// 2.02
    pub const DELETED: Code = Code::new(2, 2);
    /// 2.03
    pub const VALID: Code = Code::new(2, 3);
    /// 2.04
    pub const CHANGED: Code = Code::new(2, 4);
    /// 2.05
    pub const CONTENT: Code = Code::new(2, 5);
    /// 2.31: the block arrived, send the next one (RFC 7959 §2.9.1).
    pub const CONTINUE: Code = Code::new(2, 31);
    /// 4.00
    pub const BAD_REQUEST: Code = Code::new(4, 0);
    /// 4.01
    pub const UNAUTHORIZED: Code = Code::new(4, 1);
    /// 4.02: a critical option that the receiver does not know.
    pub const BAD_OPTION: Code = Code::new(4, 2);
    /// 4.03
    pub const FORBIDDEN: Code = Code::new(4, 3);
    /// 4.04
    pub const NOT_FOUND: Code = Code::new(4, 4);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Code = Code::new(4, 5);
    /// 4.06
    pub const NOT_ACCEPTABLE: Code = Code::new(4, 6);
    /// 4.08: blocks before this one are missing (RFC 7959 §2.9.2).
    pub const REQUEST_ENTITY_INCOMPLETE: Code = Code::new(4, 8);
    /// 4.09
    pub const CONFLICT: Code = Code::new(4, 9);
    /// 4.12
    pub const PRECONDITION_FAILED: Code = Code::new(4, 12);
    /// 4.13
    pub const REQUEST_ENTITY_TOO_LARGE: Code = Code::new(4, 13);
    /// 4.15
    pub const UNSUPPORTED_CONTENT_FORMAT: Code = Code::new(4, 15);
    /// 5.00
    pub const INTERNAL: Code = Code::new(5, 0);
    /// 5.01
    pub const NOT_IMPLEMENTED: Code = Code::new(5, 1);
    /// 5.03
    pub const SERVICE_UNAVAILABLE: Code = Code::new(5, 3);
    /// 5.05
    pub const PROXYING_NOT_SUPPORTED: Code = Code::new(5, 5);

    const fn new(class: u8, detail: u8) -> Code {
        Code(class << 5 | detail)
    }

    /// The digit before the point: 2 success, 4 the client's fault, 5 the server's.
    pub fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The two digits after the point.
    pub fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// 2.xx
    pub fn is_success(self) -> bool {
        self.class() == 2
    }

    /// Whether a response may carry it: classes 2 to 5 (RFC 7252 §12.1; class 3 is unassigned, 1, 6 and 7 reserved).
    pub fn is_response(self) -> bool {
        (2..=5).contains(&self.class())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

/// A request's method (RFC 7252 §12.1.1, RFC 8132).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(u8);

impl Method {
    /// Reads; safe to repeat.
    pub const GET: Method = Method(1);
    /// Acts.
    pub const POST: Method = Method(2);
    /// Writes.
    pub const PUT: Method = Method(3);
    /// Removes.
    pub const DELETE: Method = Method(4);
    /// Reads by what the payload asks (RFC 8132).
    pub const FETCH: Method = Method(5);
    /// Changes a part (RFC 8132).
    pub const PATCH: Method = Method(6);
    /// Changes a part, safe to repeat (RFC 8132).
    pub const IPATCH: Method = Method(7);

    /// The method of this code; `None` for a code that RFC 7252 and RFC 8132 do not name.
    pub fn from_code(code: u8) -> Option<Method> {
        (1..=7).contains(&code).then_some(Method(code))
    }

    /// The byte on the wire.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Whether running it twice changes nothing (RFC 7252 §5.8): GET and FETCH.
    pub fn is_safe(self) -> bool {
        self == Method::GET || self == Method::FETCH
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "GET",
            2 => "POST",
            3 => "PUT",
            4 => "DELETE",
            5 => "FETCH",
            6 => "PATCH",
            _ => "iPATCH",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_the_rfc_writes_them() {
        assert_eq!(Code::CREATED.to_string(), "2.01");
        assert_eq!(Code::CONTINUE.to_string(), "2.31");
        assert_eq!(Code::REQUEST_ENTITY_TOO_LARGE.to_string(), "4.13");
        assert_eq!(Code(0xff).to_string(), "7.31");
    }

    #[test]
    fn only_classes_two_to_five_are_responses() {
        assert!(Code::CONTENT.is_response() && Code::INTERNAL.is_response());
        assert!(
            !Code(0x01).is_response() && !Code(0x20).is_response() && !Code(0xc0).is_response()
        );
    }

    #[test]
    fn a_method_beyond_ipatch_is_unknown() {
        assert_eq!(Method::from_code(7), Some(Method::IPATCH));
        assert_eq!(Method::from_code(8), None);
        assert_eq!(Method::from_code(0), None);
    }
}
