//! A store that keeps nothing: it makes up the versions of as many keys as are wanted, page by page, and says yes to whatever is
//! done about them. What a walk through a million versions takes can be seen without writing them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

/// When the older version of each key was written, a moment between, and when it was deleted or overwritten.
const OLD: &str = "2026-01-01T00:00:00.000Z";
pub(crate) const BETWEEN: &str = "2026-03-01T00:00:00Z";
const NEW: &str = "2026-06-01T00:00:00.000Z";
/// Every key has two entries in the listing.
pub(crate) const OF_KEY: usize = 2;

/// What was asked of it.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) pages: AtomicUsize,
    pub(crate) copies: AtomicUsize,
    pub(crate) removals: AtomicUsize,
}

/// Serves a bucket of so many keys until the process ends, and gives its address.
pub(crate) fn serve(keys: usize) -> Result<(String, Arc<Asked>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let asked = Arc::<Asked>::default();
    let counted = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let asked = counted.clone();
            // A line that breaks is the client's to notice.
            std::thread::spawn(move || drop(talk(&stream, keys, &asked)));
        }
    });
    Ok((address, asked))
}

fn talk(stream: &TcpStream, keys: usize, asked: &Asked) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let (mut length, mut is_copy) = (0, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "x-amz-copy-source" => is_copy = true,
                _ => {}
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
        let mut words = request.split(' ');
        let (method, target) = (words.next().context("a method")?, words.next().context("a target")?);
        let (status, body) = answer(method, target, is_copy, keys, asked);
        let length = body.len();
        let mut said = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        said.extend_from_slice(body.as_bytes());
        (&*stream).write_all(&said)?;
    }
}

fn answer(method: &str, target: &str, is_copy: bool, keys: usize, asked: &Asked) -> (&'static str, String) {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let has = |name: &str| query.split('&').any(|one| one.split('=').next() == Some(name));
    match method {
        "HEAD" => ("200 OK", String::new()),
        "GET" if has("versions") => {
            asked.pages.fetch_add(1, Ordering::Relaxed);
            ("200 OK", page(query, keys))
        }
        "GET" if has("versioning") => {
            let kept = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            ("200 OK", kept.to_owned())
        }
        "GET" if has("uploads") => ("200 OK", "<ListMultipartUploadsResult/>".to_owned()),
        "POST" if has("delete") => {
            asked.removals.fetch_add(1, Ordering::Relaxed);
            ("200 OK", "<DeleteResult/>".to_owned())
        }
        "PUT" if is_copy => {
            asked.copies.fetch_add(1, Ordering::Relaxed);
            let copied = "<CopyObjectResult><ETag>\"c\"</ETag></CopyObjectResult>";
            ("200 OK", copied.to_owned())
        }
        _ => (
            "501 Not Implemented",
            "<Error><Code>NotImplemented</Code></Error>".to_owned(),
        ),
    }
}

/// The page after the key that the query names.
fn page(query: &str, keys: usize) -> String {
    let given = |name: &str| {
        query
            .split('&')
            .find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
    };
    let first = given("key-marker").and_then(|key| key.parse::<usize>().ok());
    let first = first.map_or(0, |last| last + 1);
    let entries: usize = given("max-keys").and_then(|most| most.parse().ok()).unwrap_or(1000);
    let end = (first + entries / OF_KEY).min(keys);
    let all: String = (first..end).map(entries_of).collect();
    let more = end < keys;
    let last = end.saturating_sub(1);
    let next = format!("<NextKeyMarker>{last:08}</NextKeyMarker><NextVersionIdMarker>o{last}</NextVersionIdMarker>");
    let next = if more { next } else { String::new() };
    format!(
        "<ListVersionsResult><EncodingType>url</EncodingType>{all}<IsTruncated>{more}</IsTruncated>{next}</ListVersionsResult>"
    )
}

/// Every other key was deleted, the rest was overwritten.
fn entries_of(key: usize) -> String {
    let version = |id: &str, latest: bool, at: &str| {
        format!(
            "<Version><Key>{key:08}</Key><VersionId>{id}{key}</VersionId><IsLatest>{latest}</IsLatest><LastModified>{at}</LastModified>\
             <ETag>\"{id}{key:031}\"</ETag><Size>100</Size><StorageClass>STANDARD</StorageClass></Version>"
        )
    };
    let newest = if key.is_multiple_of(2) {
        format!(
            "<DeleteMarker><Key>{key:08}</Key><VersionId>n{key}</VersionId><IsLatest>true</IsLatest><LastModified>{NEW}</LastModified></DeleteMarker>"
        )
    } else {
        version("n", true, NEW)
    };
    newest + &version("o", false, OLD)
}
