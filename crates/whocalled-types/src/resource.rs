//! Azure resource ids in their canonical, lower-case form.

/// The parts of an Azure resource id, borrowed from it.
///
/// Azure writes the same id in upper, lower and mixed case, per service and even per record, so it
/// is compared only in lower case: the input is expected to be lower-cased already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResourceId<'a> {
    /// The subscription's GUID.
    pub subscription_id: Option<&'a str>,
    /// The resource group's name.
    pub resource_group: Option<&'a str>,
    /// The name of the top-level resource, such as a Cognitive Services account; of
    /// `.../accounts/a/projects/p` it is `a`.
    pub account: Option<&'a str>,
}

impl<'a> ResourceId<'a> {
    /// Takes a lower-case resource id apart. A part that is not there is `None`; an id of another
    /// form, such as `/tenants/...`, gives no parts at all.
    pub fn parse(id: &'a str) -> Self {
        let mut parts = Self::default();
        let mut segments = id.split('/').filter(|segment| !segment.is_empty());
        while let Some(key) = segments.next() {
            let Some(value) = segments.next() else { break };
            match key {
                "subscriptions" => parts.subscription_id = Some(value),
                "resourcegroups" => parts.resource_group = Some(value),
                "providers" => {
                    // What follows is namespace/type/name; the namespace was just taken.
                    parts.account = segments.nth(1);
                    break;
                }
                _ => return Self::default(),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_level_id_has_all_parts() {
        let id = "/subscriptions/s-1/resourcegroups/rg/providers/microsoft.cognitiveservices/accounts/a/projects/p";
        assert_eq!(
            ResourceId::parse(id),
            ResourceId { subscription_id: Some("s-1"), resource_group: Some("rg"), account: Some("a") }
        );
    }

    #[test]
    fn subscription_level_provider_has_no_group() {
        let id = "/subscriptions/s-1/providers/microsoft.insights/diagnosticsettings/d";
        assert_eq!(
            ResourceId::parse(id),
            ResourceId { subscription_id: Some("s-1"), resource_group: None, account: Some("d") }
        );
    }

    #[test]
    fn tenant_ids_and_torn_ids_give_no_parts() {
        assert_eq!(ResourceId::parse("/tenants/t/providers/microsoft.aadiam"), ResourceId::default());
        assert_eq!(ResourceId::parse(""), ResourceId::default());
        assert_eq!(ResourceId::parse("/subscriptions"), ResourceId::default());
    }
}
