//! Which addresses are those of SNS in a topic's region.

use std::fmt;

use super::{super::message::shown, SnsError};

/// A topic by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    arn: String,
    pub(super) region: String,
    /// What the names of its hosts end with.
    pub(super) domain: &'static str,
}

/// A text that is not the ARN of a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a topic; expected `arn:<partition>:sns:<region>:<account>:<name>`")]
pub struct TopicError(String);

/// An address at SNS in a region, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

impl Address {
    /// Returns it as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shows no query: there is a token in it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.split('?').next().unwrap_or_default())
    }
}

impl Topic {
    /// Reads an ARN.
    ///
    /// Source: AWS General Reference, "Amazon Resource Names"; Amazon SNS, `CreateTopic`, "Name".
    pub fn read(arn: &str) -> Result<Self, TopicError> {
        let error = || TopicError(shown(arn));
        let parts: Vec<_> = arn.split(':').collect();
        let &["arn", partition, "sns", region, account, name] = parts.as_slice() else {
            return Err(error());
        };
        // Other partitions have hosts that nobody outside can reach.
        let domain = match partition {
            "aws" | "aws-us-gov" => "amazonaws.com",
            "aws-cn" => "amazonaws.com.cn",
            _ => return Err(error()),
        };
        let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_fine = (1..=40).contains(&region.len())
            && region.chars().all(is_region)
            && is_account
            && (1..=256).contains(&name.len())
            && name.chars().all(is_name);
        if !is_fine {
            return Err(error());
        }
        Ok(Self { arn: arn.to_owned(), region: region.to_owned(), domain })
    }

    fn site(&self) -> String {
        format!("https://sns.{}.{}/", self.region, self.domain)
    }

    /// Checks that a certificate lies at SNS in the topic's region. Compared as it is written, no two readers can see
    /// two hosts in it.
    pub(super) fn certificate(&self, address: &str) -> Result<Address, SnsError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let name = address.strip_prefix(&self.site()).and_then(|rest| rest.strip_suffix(".pem"));
        if name.is_some_and(|name| !name.is_empty() && name.chars().all(is_plain)) {
            return Ok(Address(address.to_owned()));
        }
        let expected = format!("`{}<name>.pem`", self.site());
        Err(SnsError::Address { field: "SigningCertURL", found: shown(address), expected })
    }

    /// Checks that an address confirms a subscription of this topic with this token, and does nothing else.
    pub(super) fn confirmation(&self, address: &str, token: &str) -> Result<Address, SnsError> {
        let query = address.strip_prefix(&self.site()).and_then(|rest| rest.strip_prefix('?'));
        let mut parts: Vec<_> = query.unwrap_or_default().split('&').collect();
        parts.sort_unstable();
        let is_it = match parts.as_slice() {
            [action, said, topic] => {
                let topic = topic.strip_prefix("TopicArn=").unwrap_or_default();
                *action == "Action=ConfirmSubscription"
                    && said.strip_prefix("Token=") == Some(token)
                    && topic.replace("%3A", ":").replace("%3a", ":") == self.arn
            }
            _ => false,
        };
        let is_plain = !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric());
        if is_it && is_plain {
            return Ok(Address(address.to_owned()));
        }
        // There may be a secret in its query.
        let found = shown(address.split('?').next().unwrap_or_default());
        let expected = format!("`{}?Action=ConfirmSubscription` for this topic", self.site());
        Err(SnsError::Address { field: "SubscribeURL", found, expected })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARN: &str = "arn:aws:sns:us-west-2:123456789012:MyTopic";

    #[test]
    fn a_certificate_lies_at_sns_in_the_region_of_the_topic() {
        let topic = Topic::read(ARN).unwrap();
        let fine = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7.pem";
        assert_eq!(topic.certificate(fine).unwrap().as_str(), fine);
        for address in [
            "",
            "http://sns.us-west-2.amazonaws.com/a.pem",
            "https://sns.us-east-1.amazonaws.com/a.pem",
            "https://sns.us-west-2.amazonaws.com.cn/a.pem",
            "https://sns.us-west-2.amazonaws.com.evil.example/a.pem",
            "https://sns.us-west-2.amazonaws.com@evil.example/a.pem",
            "https://user@sns.us-west-2.amazonaws.com/a.pem",
            "https://sns.us-west-2.amazonaws.com:443/a.pem",
            "https://sns.us-west-2.amazonaws.com:8443/a.pem",
            "https://sns.us-west-2.amazonaws.com./a.pem",
            "https://sns.us-west-2.amazonaws.com\\@evil.example/a.pem",
            "https://evil.example/sns.us-west-2.amazonaws.com/a.pem",
            "https://evil.sns.us-west-2.amazonaws.com/a.pem",
            "https://SNS.us-west-2.amazonaws.com/a.pem",
            "https://s3.us-west-2.amazonaws.com/a.pem",
            "https://sns.us-west-2.amazonaws.com/a.pem?x",
            "https://sns.us-west-2.amazonaws.com/a.pem#.pem",
            "https://sns.us-west-2.amazonaws.com/?Action=x&y=.pem",
            "https://sns.us-west-2.amazonaws.com/../a.pem",
            "https://sns.us-west-2.amazonaws.com/.pem",
            "https://sns.us-west-2.amazonaws.com/a.crt",
            " https://sns.us-west-2.amazonaws.com/a.pem",
            "https://sns.us-west-2.amazonaws.com/a\r\n.pem",
        ] {
            let error = topic.certificate(address).unwrap_err().to_string();
            assert!(error.starts_with("its `SigningCertURL` is `"), "{address}: {error}");
        }
        let china = Topic::read("arn:aws-cn:sns:cn-north-1:123456789012:t").unwrap();
        china.certificate("https://sns.cn-north-1.amazonaws.com.cn/a.pem").unwrap();
        china.certificate("https://sns.cn-north-1.amazonaws.com/a.pem").unwrap_err();
    }

    #[test]
    fn only_this_subscription_is_confirmed() {
        let topic = Topic::read(ARN).unwrap();
        let site = "https://sns.us-west-2.amazonaws.com/";
        let confirm = format!("{site}?Action=ConfirmSubscription&TopicArn={ARN}&Token=abc1");
        topic.confirmation(&confirm, "abc1").unwrap();
        let escaped = confirm.replace("arn:aws:sns", "arn%3Aaws%3asns");
        let address = topic.confirmation(&escaped, "abc1").unwrap();
        assert_eq!((address.as_str(), address.to_string().as_str()), (escaped.as_str(), site));
        for (from, to) in [
            ("us-west-2.amazonaws", "us-west-2.amazonaws.com.evil"),
            ("https", "http"),
            ("com/", "com:80/"),
            ("MyTopic", "Other"),
            ("ConfirmSubscription", "DeleteTopic"),
            ("abc1", "abc2"),
            ("abc1", "abc1&Action=DeleteTopic"),
            ("?", "x?"),
            ("&Token=abc1", ""),
        ] {
            let error = topic.confirmation(&confirm.replace(from, to), "abc1").unwrap_err();
            assert!(error.to_string().starts_with("its `SubscribeURL` is `http"), "{error}");
        }
        assert!(topic.confirmation(&confirm.replace("abc1", "a#b"), "a#b").is_err());
        assert!(topic.confirmation(&confirm.replace("abc1", ""), "").is_err());
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for arn in [
            "",
            "arn:aws:sqs:us-west-2:123456789012:q",
            "arn:aws:sns:us-west-2:123456789012",
            "arn:aws:sns:us-west-2:123456789012:t:subscription",
            "arn:aws:sns::123456789012:t",
            "arn:aws:sns:evil.example/:123456789012:t",
            "arn:aws:sns:us-west-2:1234:t",
            "arn:aws:sns:us-west-2:123456789012:a b",
            "arn:aws-iso:sns:us-iso-east-1:123456789012:t",
        ] {
            let error = Topic::read(arn).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{arn}` is not a topic")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_has_that_host(text in "(https://)?[a-z.@:/?#%\\\\]{0,12}(sns.us-west-2.amazonaws.com)[a-z.@:/?#%\\\\]{0,12}(.pem)?") {
            let topic = Topic::read(ARN).unwrap();
            if let Ok(address) = topic.certificate(&text) {
                let uri: ureq::http::Uri = address.as_str().parse().unwrap();
                prop_assert_eq!(uri.authority().unwrap().as_str(), "sns.us-west-2.amazonaws.com");
                prop_assert_eq!(uri.scheme_str(), Some("https"));
                prop_assert_eq!(uri.query(), None);
            }
        }
    }
}
