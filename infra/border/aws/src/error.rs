//! Errors of AWS in words: which thing, AWS's own code and message, and what helps. Never a request or its headers.

use std::{error::Error, fmt, io};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// The longest message of a service that is repeated.
const LONGEST_MESSAGE: usize = 500;

/// AWS, or what stands in for it, did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// It answered that it will not.
    #[error("{target} answers {code}: {message}{}", Help(help.as_deref()))]
    Refused {
        /// What was asked for, such as a bucket or a topic.
        target: String,
        /// AWS's code such as `AccessDenied`, else the status of HTTP.
        code: String,
        /// What AWS said.
        message: String,
        /// What the reader can do.
        help: Option<String>,
    },
    /// There was no answer, or none that could be understood.
    #[error("{target} gives no answer{}", Help(help.as_deref()))]
    Silent {
        /// What was asked for.
        target: String,
        /// What the reader can do.
        help: Option<String>,
        /// What the connection said.
        source: Cause,
    },
    /// An answer began and did not end.
    #[error("{target} breaks off its answer")]
    Broken {
        /// What was asked for.
        target: String,
        /// What the connection said.
        source: Cause,
    },
    /// Nobody says in which region to work.
    #[error(
        "no region of AWS is set\nhelp:  name one in the settings, in AWS_REGION or in the profile"
    )]
    NoRegion,
    /// The certificates of the authority cannot be read.
    #[error("the settings of AWS hold an authority that is not a list of certificates in PEM")]
    Authority,
    /// The thread pool cannot be started.
    #[error("cannot start the threads that talk to AWS")]
    Threads {
        /// What the system said.
        source: io::Error,
    },
    /// What AWS answered or holds is not what it should be.
    #[error("{target} {what}{}", Help(*help))]
    Unfit {
        /// What was asked for.
        target: String,
        /// What is wrong, as the rest of a sentence.
        what: String,
        /// What the reader can do.
        help: Option<&'static str>,
    },
}

impl AwsError {
    /// Turns an error of the SDK into words about `target`.
    pub(crate) fn of<E>(target: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let target = target.into();
        let SdkError::ServiceError(refused) = error else {
            return Self::silent(target, error);
        };
        let (said, raw) = (refused.err().meta(), refused.raw());
        let status = raw.status().as_u16();
        let code = said.code().map_or_else(|| format!("status {status}"), one_line);
        let message = said.message().map_or_else(|| "no reason given".to_owned(), one_line);
        let region = raw.headers().get("x-amz-bucket-region").and_then(region);
        let region = region.or_else(|| region_in(raw.body().bytes().unwrap_or_default()));
        let help = help(&code, &message, status, region.as_deref());
        Self::Refused { target, code, message, help }
    }

    /// Describes a request that found no answer; `error` is whatever the SDK says of it.
    pub(crate) fn silent(target: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        let source = Cause::of(error);
        let help = source.has("credentials").then(|| {
            "name a profile, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in again"
                .to_owned()
        });
        Self::Silent { target: target.into(), help, source }
    }

    /// Describes an answer that broke off.
    pub(crate) fn broken(target: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        Self::Broken { target: target.into(), source: Cause::of(error) }
    }

    /// Describes something that is not as it should be.
    pub(crate) fn unfit(target: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Unfit { target: target.into(), what: what.into(), help: None }
    }

    /// Tells whether AWS answered with one of these codes.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Refused { code, .. } if codes.contains(&code.as_str()))
    }
}

/// What led to an error, in words only: the SDK's own errors hold whole requests and answers.
#[derive(Debug)]
pub struct Cause {
    text: String,
    next: Option<Box<Self>>,
}

impl Cause {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let next = error.source().map(|source| Box::new(Self::of(source)));
        Self { text: one_line(&error.to_string()), next }
    }

    fn has(&self, word: &str) -> bool {
        self.text.contains(word) || self.next.as_ref().is_some_and(|next| next.has(word))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|next| next as &(dyn Error + 'static))
    }
}

/// The line of help below an error, where there is one.
struct Help<'a>(Option<&'a str>);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |help| write!(f, "\nhelp:  {help}"))
    }
}

/// The header that carries a session's token. A service that quotes the request as it was signed repeats it.
const TOKEN: &str = "x-amz-security-token";
/// From this length on a word is taken for a token: names and digests are shorter.
const LONG_WORD: usize = 150;

/// Cuts off the token of a session and all behind it, for nobody knows how it was escaped and where it ends.
fn without_token(line: &str) -> String {
    // Of the same length as the line: only ASCII changes.
    if let Some(at) = line.to_ascii_lowercase().find(TOKEN) {
        return format!("{}…", line.get(..at + TOKEN.len()).unwrap_or_default());
    }
    let shown = |word| if str::len(word) < LONG_WORD { word } else { "…" };
    line.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

/// Makes one line without control characters of what a server said, and no long one.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    without_token(&line.join(" ")).chars().take(LONGEST_MESSAGE).collect()
}

/// Says what helps against a refusal.
///
/// Source: Amazon S3, "Error responses"; the "Common Errors" of SNS, KMS and ECR.
fn help(code: &str, message: &str, status: u16, region: Option<&str>) -> Option<String> {
    let is_skewed = message.contains("Signature expired") || message.contains("not yet current");
    let text = match code {
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => {
            return Some(elsewhere(region));
        }
        _ if status == 301 => return Some(elsewhere(region)),
        "RequestTimeTooSkewed" | "RequestExpired" => CLOCK,
        _ if is_skewed => CLOCK,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            "the credentials have expired: get new ones and run this again"
        }
        "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "InvalidToken" => {
            "AWS does not know these credentials: look at AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN"
        }
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "AuthorizationErrorException"
        | "Forbidden" => DENIED,
        _ if status == 403 => DENIED,
        "DisabledException" | "KMSInvalidStateException" => {
            "enable the key, or name another one in the settings"
        }
        "NoSuchBucket" | "NotFound" | "NotFoundException" | "RepositoryNotFoundException" => {
            "make it first, or correct its name, its region or the account"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

const CLOCK: &str = "the clock of this machine is wrong: set it and run this again";
const DENIED: &str = "the role may not do this, or the thing belongs to another account: infra/aws lists the permissions that are needed";

fn elsewhere(region: Option<&str>) -> String {
    match region {
        Some(region) => format!("it is in the region {region}: name that one in the settings"),
        None => "it is in another region: name that one in the settings".to_owned(),
    }
}

/// Returns a text if it looks like a region.
fn region(text: &str) -> Option<String> {
    let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (text.contains('-') && text.len() < 40 && text.chars().all(is_region)).then(|| text.to_owned())
}

/// Finds the right region in the body of a redirect.
///
/// Source: Amazon S3, "Error responses", `PermanentRedirect` and `AuthorizationHeaderMalformed`.
fn region_in(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(value, _)| value)
    };
    let in_endpoint = |endpoint: &str| {
        let host = endpoint.strip_suffix(".amazonaws.com")?;
        region(host.rsplit('.').next()?.trim_start_matches("s3-"))
    };
    element("Region").and_then(region).or_else(|| element("Endpoint").and_then(in_endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_the_right_region() {
        for body in [
            "<Error><Code>PermanentRedirect</Code><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint></Error>",
            "<Error><Code>PermanentRedirect</Code><Endpoint>b.s3-eu-west-1.amazonaws.com</Endpoint></Error>",
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
        ] {
            assert_eq!(region_in(body.as_bytes()).as_deref(), Some("eu-west-1"), "{body}");
        }
        for body in ["", "<Region></Region>", "<Region>a b</Region>", "<Endpoint>s3.x</Endpoint>"] {
            assert_eq!(region_in(body.as_bytes()), None, "{body}");
        }
        let help = help("PermanentRedirect", "", 301, Some("eu-west-1")).unwrap();
        assert_eq!(help, "it is in the region eu-west-1: name that one in the settings");
    }

    #[test]
    fn the_token_of_a_session_is_not_repeated() {
        for (said, shown) in [
            (
                "signed: 'POST\n/\nx-amz-date:1\nx-amz-security-token:SESSION1\nx-amz-target:x'",
                "signed: 'POST / x-amz-date:1 x-amz-security-token…",
            ),
            ("X-Amz-Security-Token=SESSION1&x", "X-Amz-Security-Token…"),
            ("not x-amz-security-token:\n SESSION1", "not x-amz-security-token…"),
        ] {
            assert_eq!(one_line(said), shown);
        }
        let token = "SESSION1".repeat(40);
        assert_eq!(one_line(&format!("bad token {token} given")), "bad token … given");
        let arn = format!("role arn:aws:iam::123456789012:role/{} may not", "x".repeat(64));
        assert_eq!(one_line(&arn), arn);
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        assert_eq!(one_line("a\n\tb\u{1b}[2J  c"), "a b [2J c");
        assert_eq!(one_line(&"x ".repeat(10_000)).len(), LONGEST_MESSAGE);
    }
}
