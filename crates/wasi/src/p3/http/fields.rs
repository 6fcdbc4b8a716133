//! `fields` with the errors of 0.3.

use crate::component::call::{Call, Outcome};
use crate::component::http::fields::{self, Refused};
use crate::component::lower::{Bytes, New};
use crate::p3::codes::{HeaderError, recoded};

impl From<Refused> for HeaderError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::InvalidSyntax => Self::InvalidSyntax,
            Refused::Forbidden => Self::Forbidden,
            Refused::Immutable => Self::Immutable,
            Refused::TooLarge(_) => Self::SizeExceeded,
        }
    }
}

recoded! {
    from_list = fields::from_list => New, HeaderError;
    set = fields::set => (), HeaderError;
    delete = fields::delete => (), HeaderError;
    get_and_delete = fields::get_and_delete => Vec<Bytes>, HeaderError;
    append = fields::append => (), HeaderError;
}
