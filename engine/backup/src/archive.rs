//! From a copy to the dump inside it, proven on the way; and the proof without a use.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use jm_step::StepError;
use sha2::{Digest, Sha256};

use crate::flow::{Failure, Flow, FlowReader, tap, through};
use crate::key::Passphrase;
use crate::manifest::{Level, Manifest};
use crate::name::Format;
use crate::openpgp::{OpenError, decrypt};
use crate::script::{Rules, Script};
use crate::tools::{Toolbox, ending, feed, tail};
use crate::{code, files, objects};

/// What `pg_dump -Fc` begins with.
const CUSTOM: &[u8] = b"PGDMP";
/// The last words of a plain dump; newer versions add a line.
const TRAILER: &[u8] = b"-- PostgreSQL database dump complete";
const TRAILER_WITHIN: usize = 1024;
/// No first words by which a content is known are longer.
const LONGEST_OPENING: usize = 64;
const GZIP: &[u8] = &[0x1F, 0x8B];
/// Deflate makes at most 1032 bytes of one.
const MOST_UNPACKED: u64 = 1100;
const UNPACKED_SLACK: u64 = 64 << 20;

/// Bytes that went by, for whoever shows progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a copy must turn out to be, as far as a manifest says it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// Size and SHA-256 of the file.
    file: Option<(u64, String)>,
    /// Size and SHA-256 of the dump inside.
    dump: Option<(u64, String)>,
    /// The file's size as its location tells it.
    bytes: u64,
}

impl Expected {
    pub(crate) fn by(manifest: &Manifest) -> Self {
        Self {
            file: Some((manifest.bytes.encrypted, manifest.sha256.clone())),
            dump: Some((manifest.bytes.raw, manifest.raw_sha256.clone())),
            bytes: manifest.bytes.encrypted,
        }
    }

    /// Size and SHA-256 of file and dump.
    pub(crate) fn new(file: (u64, String), dump: (u64, String)) -> Self {
        Self {
            bytes: file.0,
            file: Some(file),
            dump: Some(dump),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A file that was read before.
    pub(crate) fn seen(file: (u64, String)) -> Self {
        Self {
            bytes: file.0,
            file: Some(file),
            dump: None,
        }
    }

    /// Nothing is known but the size.
    pub(crate) fn nothing(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    fn limit(&self) -> u64 {
        match &self.dump {
            Some((bytes, _)) => *bytes,
            None => self.bytes.saturating_mul(MOST_UNPACKED).saturating_add(UNPACKED_SLACK),
        }
    }
}

/// Size and SHA-256 of what goes by.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<(Sha256, u64)>>);

impl Tally {
    pub(crate) fn add(&self, bytes: &Bytes) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.0.update(bytes);
        tally.1 += bytes.len() as u64;
    }

    pub(crate) fn finish(&self) -> (u64, String) {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (tally.1, hex::encode(tally.0.clone().finalize()))
    }
}

/// Counts and hashes what goes by, and compares at the end.
fn checked(
    input: Flow,
    expected: Option<(u64, String)>,
    meter: Option<Meter>,
    tally: &Tally,
    what: &'static str,
) -> Flow {
    let (seen, tally) = (tally.clone(), tally.clone());
    let see = move |bytes: &Bytes| {
        seen.add(bytes);
        if let Some(meter) = &meter {
            meter.add(bytes.len());
        }
    };
    tap(input, see, move || {
        let (bytes, sha256) = tally.finish();
        compare(&sha256, bytes, expected.as_ref(), what)
    })
}

fn compare(sha256: &str, bytes: u64, expected: Option<&(u64, String)>, what: &str) -> Result<(), Failure> {
    match expected {
        Some((all, _)) if bytes < *all => Err(OpenError::Truncated.into()),
        Some((all, sum)) if bytes != *all || sha256 != sum => {
            Err(OpenError::Damaged(format!("the checksum of {what} is not the manifest's")).into())
        }
        _ => Ok(()),
    }
}

/// A dump that comes out of a copy, and what is told of both once it has come to its end.
pub(crate) struct Unpacked {
    /// Its end comes only if copy and dump are what they should be.
    pub(crate) dump: Flow,
    /// Size and SHA-256 of the copy.
    pub(crate) file: Tally,
    /// Size and SHA-256 of the dump.
    pub(crate) inside: Tally,
}

/// Decrypts a copy.
pub(crate) fn unpack(copy: Flow, expected: &Expected, passphrase: &Passphrase, meter: &Meter) -> Unpacked {
    let (file, inside) = (Tally::default(), Tally::default());
    let copy = checked(copy, expected.file.clone(), Some(meter.clone()), &file, "the file");
    let (passphrase, limit) = (passphrase.clone(), expected.limit());
    let known = expected.file.is_some();
    let dump = through(copy, move |reader| {
        let plain = decrypt(reader, &passphrase, limit).map_err(|error| not_the_key(error, known).into_io())?;
        gunzip(plain, limit)
    });
    let dump = checked(dump, expected.dump.clone(), None, &inside, "the dump inside");
    Unpacked { dump, file, inside }
}

/// The manifest said what the file is and that the key is ours: then it is the file.
fn not_the_key(error: OpenError, known: bool) -> OpenError {
    match error {
        OpenError::Truncated | OpenError::Damaged(_) | OpenError::Bomb { .. } => error,
        _ if known => OpenError::Damaged("its beginning is not what was written".to_owned()),
        _ => error,
    }
}

/// Old scripts packed before they encrypted: `.sql.gz.gpg`.
fn gunzip(plain: impl Read + 'static, limit: u64) -> std::io::Result<Box<dyn Read>> {
    let mut plain = BufReader::with_capacity(64 * 1024, plain);
    if !plain.fill_buf()?.starts_with(GZIP) {
        return Ok(Box::new(plain));
    }
    Ok(Box::new(Unzipped {
        source: MultiGzDecoder::new(plain),
        seen: 0,
        limit,
    }))
}

struct Unzipped<R> {
    source: R,
    seen: u64,
    limit: u64,
}

impl<R: Read> Read for Unzipped<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buf).map_err(|error| match OpenError::of(&error) {
            Some(known) => known.into_io(),
            None => OpenError::classify(&error).into_io(),
        })?;
        self.seen += count as u64;
        if self.seen > self.limit {
            return Err(OpenError::Bomb { limit: self.limit }.into_io());
        }
        Ok(count)
    }
}

/// What a dump is, by its own first bytes.
pub(crate) async fn sniff(dump: &mut Flow) -> Result<Format, Failure> {
    let start = dump.peek(LONGEST_OPENING).await?;
    if start.is_empty() {
        return Err(OpenError::Damaged("there is nothing inside".to_owned()).into());
    }
    Ok(if start.starts_with(CUSTOM) {
        Format::Custom
    } else if start.starts_with(objects::OPENING.as_bytes()) {
        Format::Kubernetes
    } else if start.starts_with(files::OPENING.as_bytes()) {
        Format::Files
    } else if code::begins(&start) {
        Format::Code
    } else {
        Format::Plain
    })
}

/// Proves a copy up to a level, and tells its size and SHA-256.
pub(crate) async fn prove(
    copy: Flow,
    expected: &Expected,
    level: Level,
    passphrase: &Passphrase,
    tools: &Toolbox,
    meter: &Meter,
) -> Result<(u64, String), Failure> {
    if level == Level::Checksum {
        let tally = Tally::default();
        checked(copy, expected.file.clone(), Some(meter.clone()), &tally, "the file")
            .drain()
            .await?;
        return Ok(tally.finish());
    }
    let Unpacked { mut dump, file, .. } = unpack(copy, expected, passphrase, meter);
    if level == Level::Decrypt {
        dump.drain().await?;
        return Ok(file.finish());
    }
    match sniff(&mut dump).await? {
        Format::Custom => prove_custom(dump, tools).await?,
        Format::Kubernetes => objects::prove(dump).await?,
        Format::Files => files::prove(dump).await?,
        Format::Code => code::prove(dump).await?,
        Format::Plain => read_script(dump, Rules::default()).drain().await.map(drop)?,
    }
    Ok(file.finish())
}

/// Every block is read: `pg_restore` writes the whole archive as SQL, to nowhere.
async fn prove_custom(mut dump: Flow, tools: &Toolbox) -> Result<(), Failure> {
    let tool = {
        let at_least = archive_major(&mut dump).await?;
        tools.tool("pg_restore", at_least, at_least).await?
    };
    let args = ["--file=/dev/null".to_owned()];
    let mut child = tools.spawn(&tool, &args, None, true)?;
    let mut stdin = child
        .stdin
        .take()
        .ok_or_else(|| StepError::failed("`pg_restore` has no standard input"))?;
    let stderr = child.stderr.take();
    let (fed, said) = tokio::join!(
        async {
            let fed = feed(&mut dump, &mut stdin).await;
            drop(stdin);
            // What is left is read too: the end of the file must be proven.
            match fed {
                Ok(false) => dump.drain().await.map(drop),
                other => other.map(drop),
            }
        },
        tail(stderr)
    );
    let status = child.wait().await?;
    fed?;
    if status.success() {
        return Ok(());
    }
    Err(OpenError::Damaged(format!("`pg_restore` cannot read it ({}): {said}", ending(status))).into())
}

/// The version of `pg_restore` that an archive needs at least, by the version of its format.
pub(crate) async fn archive_major(dump: &mut Flow) -> Result<u32, Failure> {
    let start = dump.peek(7).await?;
    let (major, minor) = (start.get(5).copied().unwrap_or(0), start.get(6).copied().unwrap_or(0));
    Ok(match (major, minor) {
        (1, 16..) | (2.., _) => 17,
        (1, 15) => 16,
        _ => 12,
    })
}

/// A plain dump, read as psql would, without what it may not do. Its end comes only if it is whole.
pub(crate) fn read_script(dump: Flow, rules: Rules) -> Flow {
    through(dump, move |reader| {
        Ok(Filtered {
            reader,
            script: Script::new(rules),
            input: vec![0; 64 * 1024],
            output: Vec::new(),
            read: 0,
            end: Vec::new(),
            ended: false,
        })
    })
}

struct Filtered {
    reader: FlowReader,
    script: Script,
    input: Vec<u8>,
    output: Vec<u8>,
    read: usize,
    /// The last of what came in.
    end: Vec<u8>,
    ended: bool,
}

impl Filtered {
    fn fill(&mut self) -> std::io::Result<()> {
        self.output.clear();
        self.read = 0;
        let count = self.reader.read(&mut self.input)?;
        let result = if count == 0 {
            self.ended = true;
            self.whole()?;
            self.script.finish(&mut self.output)
        } else {
            self.remember(count);
            self.script.feed(&self.input[..count], &mut self.output)
        };
        result.map_err(|error| OpenError::Damaged(error.to_string()).into_io())
    }

    fn remember(&mut self, count: usize) {
        self.end
            .extend_from_slice(&self.input[count.saturating_sub(TRAILER_WITHIN)..count]);
        let surplus = self.end.len().saturating_sub(TRAILER_WITHIN);
        self.end.drain(..surplus);
    }

    fn whole(&self) -> std::io::Result<()> {
        if memchr::memmem::find(&self.end, TRAILER).is_some() {
            return Ok(());
        }
        let words = "`pg_dump` did not finish: its last line `PostgreSQL database dump complete` is missing";
        Err(OpenError::Damaged(words.to_owned()).into_io())
    }
}

impl Read for Filtered {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        while self.read == self.output.len() && !self.ended {
            self.fill()?;
        }
        let rest = &self.output[self.read..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}
