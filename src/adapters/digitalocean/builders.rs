//! Builders by their names: which droplets, and which images of them, are a bake's and nothing else.
//!
//! A name is decided and written down before its builder is ordered, and is the name of its image until that is finished.
//! Whatever a bake leaves when it is cut off is found by it.

use getaredis_actors::domain::{HostName, Timestamp};
use uuid::Uuid;

/// Random digits of a name, 32 bits.
const DIGITS: usize = 8;

/// A name for a new builder of the deployment with this tag. No host is called so.
///
/// # Errors
/// What is wrong with it: the tag's part.
pub(super) fn new_builder(tag: &str) -> Result<HostName, String> {
    let id = Uuid::now_v7().simple().to_string();
    let name = format!("{tag}-builder-{}", &id[id.len() - DIGITS..]);
    HostName::parse(&name).map_err(|error| format!("{name}: {error}"))
}

/// Whether the name is a builder's of the deployment with this tag.
pub(super) fn is_builder(tag: &str, name: &str) -> bool {
    let digits = name.strip_prefix(tag).and_then(|rest| rest.strip_prefix("-builder-"));
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A name for a finished image of the deployment with this tag.
pub(super) fn image_name(tag: &str, now: Timestamp) -> String {
    format!("{tag}-{}", now.strftime("%Y%m%d-%H%M%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(tag: &str) -> String {
        new_builder(tag).unwrap().to_string()
    }

    #[test]
    fn a_builder_is_known_by_its_name_and_only_in_its_own_deployment() {
        let name = builder("getaredis-a");
        assert!(is_builder("getaredis-a", &name), "{name}");
        assert_ne!(name, builder("getaredis-a"));
        assert!(!is_builder("getaredis-b", &name));
        for other in
            ["a-12345678", "getaredis-a-builder", "getaredis-a-builder-1234567", "getaredis-a-builder-x2345678"]
        {
            assert!(!is_builder("getaredis-a", other), "{other}");
        }
        // A deployment that is itself called so.
        assert!(!is_builder("getaredis-a", &builder("getaredis-a-builder")));
        assert!(!is_builder("getaredis-a", &image_name("getaredis-a", Timestamp::UNIX_EPOCH)));
    }

    #[test]
    fn the_longest_deployment_id_leaves_room_for_the_name_of_a_builder() {
        new_builder(&format!("getaredis-{}", "d".repeat(32))).unwrap();
    }
}
