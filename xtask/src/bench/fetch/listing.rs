//! Listings of containers and blobs, in the XML of a blob service.
//!
//! Names are put into it as they are: those of a bench's archive need no escapes.

use std::fmt::Write;

use super::archive::{Blob, CONTAINER};

/// As many as a page of the real service has at the most.
const PAGE_BLOBS_MAX: usize = 5000;

/// One date for everything: clients that look for changes find them by length.
pub(super) const LAST_MODIFIED: &str = "Sun, 01 Nov 2026 00:00:00 GMT";

/// What is asked of a listing of blobs; an empty text stands for a parameter that is not given.
#[derive(Debug, Default)]
pub(super) struct Question {
    pub(super) prefix: String,
    pub(super) delimiter: String,
    /// The name to begin at.
    pub(super) start_from: String,
    /// Where the page begins: the name that the page before gave as the next.
    pub(super) marker: String,
    pub(super) blobs_max: Option<usize>,
}

/// The one container.
pub(super) fn containers() -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Containers><Container><Name>{CONTAINER}</Name>\
         <Properties><Last-Modified>{LAST_MODIFIED}</Last-Modified><Etag>\"0x1\"</Etag></Properties></Container>\
         </Containers><NextMarker/></EnumerationResults>"
    )
}

/// One page of the blobs, which are sorted by name.
pub(super) fn page(blobs: &[Blob], question: &Question) -> String {
    let Question { prefix, delimiter, start_from, marker, blobs_max } = question;
    let max = blobs_max.unwrap_or(PAGE_BLOBS_MAX).clamp(1, PAGE_BLOBS_MAX);
    let from = blobs.partition_point(|it| it.name.as_str() < start_from.max(marker).max(prefix).as_str());
    let mut rest = blobs[from..].iter().take_while(|it| it.name.starts_with(prefix.as_str())).peekable();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>");
    for _ in 0..max {
        let Some(blob) = rest.next() else { break };
        match directory(&blob.name, prefix, delimiter) {
            None => write_blob(&mut xml, blob),
            Some(directory) => {
                xml.extend(["<BlobPrefix><Name>", directory, "</Name></BlobPrefix>"]);
                while rest.next_if(|it| it.name.starts_with(directory)).is_some() {}
            }
        }
    }
    let next = rest.peek().map_or("", |it| &it.name);
    xml.extend(["</Blobs><NextMarker>", next, "</NextMarker></EnumerationResults>"]);
    xml
}

/// The part of a name up to the first delimiter after the prefix.
fn directory<'a>(name: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    let at = name[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty())?;
    Some(&name[..prefix.len() + at + delimiter.len()])
}

fn write_blob(xml: &mut String, blob: &Blob) {
    let Blob { name, bytes } = blob;
    // Writing to a string does not fail.
    let _written = write!(
        xml,
        "<Blob><Name>{name}</Name><Properties><Creation-Time>{LAST_MODIFIED}</Creation-Time>\
         <Last-Modified>{LAST_MODIFIED}</Last-Modified><Etag>0x{bytes:X}</Etag><Content-Length>{bytes}</Content-Length>\
         <Content-Type>application/octet-stream</Content-Type><Content-Encoding/><Content-Language/><Content-CRC64/>\
         <Content-MD5/><Cache-Control/><Content-Disposition/><BlobType>AppendBlob</BlobType>\
         <LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>\
         </Properties><OrMetadata/></Blob>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names on one page, and the next page's marker.
    fn names(names: &[&str], question: &Question) -> (Vec<String>, String) {
        let blobs: Vec<_> = names.iter().map(|it| Blob { name: (*it).to_owned(), bytes: 26 }).collect();
        let xml = page(&blobs, question);
        let between = |text: &str, end: &str| text.split(end).next().unwrap_or_default().to_owned();
        let listed = xml.split("<Name>").skip(1).map(|it| between(it, "</Name>")).collect();
        (listed, between(xml.split("<NextMarker>").nth(1).unwrap_or_default(), "</NextMarker>"))
    }

    #[test]
    fn pages_follow_each_other_by_their_markers() {
        let all = ["a/1", "a/2", "b/1", "b/2", "c"];
        let mut question = Question { blobs_max: Some(2), ..Question::default() };
        assert_eq!(names(&all, &question), (vec!["a/1".into(), "a/2".into()], "b/1".into()));
        question.marker = "c".into();
        assert_eq!(names(&all, &question), (vec!["c".into()], String::new()));
        question = Question { start_from: "b/11".into(), ..Question::default() };
        assert_eq!(names(&all, &question).0, ["b/2", "c"]);
    }

    #[test]
    fn a_prefix_selects_and_a_delimiter_folds() {
        let all = ["a/1", "b/1", "b/2/x", "b/2/y", "b/3"];
        let mut question = Question { prefix: "b/".into(), ..Question::default() };
        assert_eq!(names(&all, &question).0, ["b/1", "b/2/x", "b/2/y", "b/3"]);
        question.delimiter = "/".into();
        assert_eq!(names(&all, &question).0, ["b/1", "b/2/", "b/3"]);
        question.blobs_max = Some(2);
        assert_eq!(names(&all, &question).1, "b/3");
    }

    #[test]
    fn a_listing_tells_length_and_kind() {
        let xml = page(&[Blob { name: "a".into(), bytes: 26 }], &Question::default());
        for part in ["<Content-Length>26</Content-Length>", "<Etag>0x1A</Etag>", "<BlobType>AppendBlob</BlobType>"] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
    }
}
