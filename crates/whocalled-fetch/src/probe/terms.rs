//! What a SAS says of itself: how long it is valid, and what it allows. Its signature is not among it.

use chrono::{DateTime, Utc};

use crate::{Secret, sas};

/// What an archive's reader needs: reading and listing.
const NEEDED: &str = "rl";
/// The permissions of Azure Storage's SAS, by letter.
const PERMISSIONS: [(char, &str); 16] = [
    ('r', "read"),
    ('l', "list"),
    ('a', "add"),
    ('c', "create"),
    ('w', "write"),
    ('d', "delete"),
    ('x', "delete versions"),
    ('y', "delete permanently"),
    ('u', "update"),
    ('p', "process"),
    ('t', "tags"),
    ('f', "find by tags"),
    ('m', "move"),
    ('e', "execute"),
    ('o', "change owners"),
    ('i', "change retention"),
];
const SERVICES: [(char, &str); 4] = [('b', "blobs"), ('f', "files"), ('q', "queues"), ('t', "tables")];

/// The fields of a SAS that say what it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SasTerms {
    /// From when on it is valid, if it says so.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it expires, if it says so; a stored access policy may say it instead.
    pub expires_at: Option<DateTime<Utc>>,
    /// The stored access policy that it names.
    pub policy: Option<String>,
    /// Whether it may be sent in TLS only.
    pub https_only: bool,
    permissions: Option<String>,
    services: Option<String>,
}

impl SasTerms {
    /// Reads the fields of a SAS.
    pub(crate) fn read(sas: &Secret) -> Self {
        let field = |name: &str| sas::field(sas, name);
        Self {
            starts_at: field("st").and_then(|text| sas::instant(&text)),
            expires_at: sas::expires_at(sas),
            policy: field("si"),
            https_only: field("spr").as_deref() == Some("https"),
            permissions: field("sp"),
            services: field("ss"),
        }
    }

    /// Whether it says itself what it allows, and does not leave that to a stored access policy.
    pub fn says_permissions(&self) -> bool {
        self.permissions.is_some()
    }

    /// What it allows beyond reading and listing blobs, in words.
    pub fn excess(&self) -> Vec<String> {
        let permissions = self.permissions.iter().flat_map(|it| it.chars()).filter(|it| !NEEDED.contains(*it));
        let services = self.services.iter().flat_map(|it| it.chars()).filter(|it| *it != 'b');
        permissions
            .map(|letter| named(&PERMISSIONS, letter))
            .chain(services.map(|letter| format!("the account's {}", named(&SERVICES, letter))))
            .collect()
    }
}

fn named(names: &[(char, &str)], letter: char) -> String {
    names.iter().find(|(it, _)| *it == letter).map_or_else(|| letter.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(sas: &str) -> SasTerms {
        SasTerms::read(&Secret::new(sas))
    }

    #[test]
    fn what_goes_beyond_reading_is_named() {
        assert!(terms("ss=b&srt=sco&sp=rl&sig=x").excess().is_empty());
        assert_eq!(terms("ss=bq&sp=rwdlZ&sig=x").excess(), ["write", "delete", "Z", "the account's queues"]);
        assert!(!terms("si=policy&sig=x").says_permissions());
    }

    #[test]
    fn the_protocol_is_https_where_it_says_only_that() {
        assert!(terms("spr=https").https_only);
        assert!(!terms("spr=https,http").https_only && !terms("").https_only);
    }

    #[test]
    fn the_signature_is_not_kept() {
        assert!(!format!("{:?}", terms("sp=rl&sig=topsecret")).contains("topsecret"));
    }
}
