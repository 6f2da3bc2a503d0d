//! Which Entra authority gives tokens for an account: each sovereign cloud has its own.
//!
//! The pairs are those of "Azure Government endpoint mapping" and "Developer notes for Azure in China
//! applications" on Microsoft Learn. The audience of storage tokens is the same in every cloud.

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};

const PUBLIC: &str = "https://login.microsoftonline.com";
/// The domain that an account's host ends in, and the authority of its cloud.
const SOVEREIGN: [(&str, &str); 2] = [
    (".core.usgovcloudapi.net", "https://login.microsoftonline.us"),
    (".core.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
];

/// The authority as a URL: the one that was `asked` for, otherwise that of the cloud of `host`.
pub(super) fn authority(asked: Option<&str>, host: &str) -> String {
    match asked {
        Some(asked) if asked.contains("://") => asked.to_owned(),
        Some(asked) => format!("https://{asked}"),
        None => {
            let host = host.to_ascii_lowercase();
            let own = SOVEREIGN.iter().find(|(domain, _)| host.ends_with(domain));
            own.map_or(PUBLIC, |(_, authority)| authority).to_owned()
        }
    }
}

/// The authority for the SDK. Always said explicitly, for otherwise it would read the environment.
pub(super) fn configuration(authority: &str) -> CloudConfiguration {
    let mut custom = CustomConfiguration::default();
    custom.authority_host = authority.to_owned();
    custom.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_follows_from_the_account_unless_one_is_asked_for() {
        for (asked, host, expected) in [
            (None, "logs1.blob.core.windows.net", PUBLIC),
            (None, "logs.example.com", PUBLIC),
            (None, "core.usgovcloudapi.net.example.com", PUBLIC),
            (None, "logs1.blob.core.usgovcloudapi.net", "https://login.microsoftonline.us"),
            (None, "logs1.privatelink.blob.core.usgovcloudapi.net", "https://login.microsoftonline.us"),
            (None, "Logs1.blob.core.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
            (Some("login.example.com"), "logs1.blob.core.chinacloudapi.cn", "https://login.example.com"),
            (Some("https://login.example.com/"), "logs1.blob.core.windows.net", "https://login.example.com/"),
        ] {
            assert_eq!(authority(asked, host), expected, "{asked:?} {host}");
        }
    }
}
