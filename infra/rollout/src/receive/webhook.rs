//! What our own webhook posts: signed with a secret that both ends know.

use std::fmt;

use aws_lc_rs::hmac;
use kdistro_border::webhook::{ID, SIGNATURE};

use super::{
    Heard, Ignored, MessageError, Source,
    http::{Desk, Request, Status, Taken},
    message::{self, shown},
};

/// The shortest secret in bytes, as the sender demands it.
const SHORTEST_SECRET: usize = 16;

/// Takes what [`WebhookAnnouncer`](kdistro_border::WebhookAnnouncer) posts.
///
/// There is no time in it: whoever recorded a request can send it again, and is answered that it is known.
pub struct Webhook {
    key: hmac::Key,
}

/// A secret that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of the webhook has {0} bytes; expected at least {SHORTEST_SECRET}")]
pub struct SecretError(usize);

impl Webhook {
    /// Takes the secret that the sender knows as well.
    pub fn new(secret: &[u8]) -> Result<Self, SecretError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(SecretError(secret.len()));
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    /// Checks the signature, which takes as long for a wrong one as for the right one.
    fn is_signed(&self, request: &Request) -> bool {
        let said = request.header(SIGNATURE.as_str());
        let said = said.and_then(|text| text.strip_prefix("sha256=")).and_then(bytes);
        said.is_some_and(|said| hmac::verify(&self.key, &request.body, &said).is_ok())
    }
}

impl Desk for Webhook {
    fn take(&self, request: &Request) -> Taken {
        let named = request.header(ID.as_str());
        let refuse = |status, source| {
            let what =
                named.map_or_else(|| "a request".to_owned(), |id| format!("`{}`", shown(id)));
            Taken::Refused(status, Ignored { way: Source::Webhook, what, source })
        };
        if !self.is_signed(request) {
            return refuse(Status::Unauthorized, MessageError::Unsigned);
        }
        let read = message::posted(&request.body).and_then(|posted| {
            let expected = posted.id.to_string();
            if named == Some(&expected) {
                return posted.announcement();
            }
            let found = shown(named.unwrap_or_default());
            Err(MessageError::Id { found, expected, place: "the body" })
        });
        match read {
            Ok(said) => Taken::News(Heard::new(&said, Source::Webhook)),
            Err(source) => refuse(Status::BadRequest, source),
        }
    }
}

/// Shows no secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

/// Reads 32 bytes in lowercase hex digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digest: kdistro_formats::Digest = format!("sha256:{hex}").parse().ok()?;
    Some(digest.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use kdistro_formats::digest::hex;
    use kdistro_verify::hash::sha256;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::receive::tests::announcement;

    const SECRET: &[u8] = b"planted-secret-of-the-webhook";

    fn signed(body: &str, id: &str) -> Request {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        let signature = format!("sha256={}", hex(hmac::sign(&key, body.as_bytes()).as_ref()));
        let headers = [("kdistro-id", id), ("kdistro-signature", &signature)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        Request { headers: headers.to_vec(), body: body.as_bytes().to_vec() }
    }

    fn body(text: &str) -> (String, String) {
        let id = sha256(b"id").to_string();
        let message = json!({"default": text}).to_string();
        let body = json!({"id": id, "subject": "s", "message": message, "attributes": {}});
        (body.to_string(), id)
    }

    fn told(taken: Taken) -> String {
        match taken {
            Taken::Refused(status, it) => format!("{} {it}: {}", status as u16, it.source),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_signed_and_says_one_thing_is_news() {
        let desk = Webhook::new(SECRET).unwrap();
        let (whole, id) = body(&serde_json::to_string(&announcement(7)).unwrap());
        let taken = desk.take(&signed(&whole, &id));
        assert!(matches!(&taken, Taken::News(heard) if heard.number == 7), "{taken:?}");
        let (changed, other) = (whole.replace('7', "8"), sha256(b"other").to_string());
        let mut forged = signed(&whole, &id);
        forged.body = changed.into_bytes();
        let mut twice = signed(&whole, &id);
        twice.headers.push(twice.headers[1].clone());
        let mut upper = signed(&whole, &id);
        upper.headers[1].1.make_ascii_uppercase();
        let mut short = signed(&whole, &id);
        short.headers[1].1.truncate(40);
        let mut unsigned = signed(&whole, &id);
        unsigned.headers.truncate(1);
        for request in [forged, twice, upper, short, unsigned, Request::default()] {
            let told = told(desk.take(&request));
            assert!(told.starts_with("401 the webhook brought"), "{told}");
            assert!(told.ends_with("it is not signed with the secret of the webhook"), "{told}");
        }
        let (hello, _) = body("Hello");
        for (request, expected) in [
            (signed(&whole, &other), "which is ignored: it calls itself"),
            (signed("{}", &id), "it is not a posted announcement: missing field `id`"),
            (signed(&whole[..99], &id), "it breaks off after 99 bytes"),
            (signed(&hello, &id), "it is not JSON"),
        ] {
            let told = told(desk.take(&request));
            assert!(told.starts_with("400 ") && told.contains(expected), "{told}");
        }
    }

    #[test]
    fn the_secret_is_long_and_not_shown() {
        let error = Webhook::new(b"planted").unwrap_err().to_string();
        assert_eq!(error, "the secret of the webhook has 7 bytes; expected at least 16");
        assert_eq!(format!("{:?}", Webhook::new(SECRET).unwrap()), "Webhook { .. }");
    }

    proptest! {
        #[test]
        fn anything_that_is_signed_is_read_or_refused(text in any::<String>(), id in any::<String>()) {
            let desk = Webhook::new(SECRET).unwrap();
            prop_assert!(matches!(desk.take(&signed(&text, &id)), Taken::Refused(..)));
            let (whole, id) = body(&text);
            prop_assert!(matches!(desk.take(&signed(&whole, &id)), Taken::Refused(..)));
        }
    }
}
