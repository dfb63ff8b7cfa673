//! A backup in clear text, for whoever wants to look into it.

use std::path::Path;

use jm_step::StepError;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::archive::{Meter, Unpacked};
use crate::backups::{BackupsReader, explain};
use crate::catalogue::Entry;
use crate::flow::Failure;
use crate::location::Directory;
use crate::observer::{Observer, watched};

impl BackupsReader {
    /// Writes the dump inside a backup, from the first copy that can be opened, and tells its size. What has gone out
    /// before an error cannot be taken back: without `Ok` it is not to be used.
    pub async fn decrypt_to(
        &self,
        entry: &Entry,
        out: &mut (impl AsyncWrite + Unpin),
        observer: &dyn Observer,
    ) -> Result<u64, StepError> {
        let (mut unpacked, bytes, meter) = self.first_copy(entry).await?;
        let write = async {
            while let Some(bytes) = unpacked.dump.next().await? {
                out.write_all(&bytes).await.map_err(cannot_write)?;
            }
            out.flush().await.map_err(cannot_write)?;
            Ok::<_, Failure>(())
        };
        let written = watched(observer, &meter, Some(bytes), write).await;
        written.map_err(|failure| explain(entry, failure))?;
        Ok(unpacked.inside.finish().0)
    }

    /// The same into a new file that only its owner can read. It is there when all of it is proven, or not at all.
    pub async fn decrypt_to_file(&self, entry: &Entry, file: &Path, observer: &dyn Observer) -> Result<u64, StepError> {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| StepError::invalid_input(format!("`{}` names no file", file.display())))?;
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let (unpacked, bytes, meter) = self.first_copy(entry).await?;
        let folder = Directory::new(folder);
        let saved = watched(observer, &meter, Some(bytes), folder.save(name, unpacked.dump)).await;
        saved.map_err(|failure| explain(entry, failure))?;
        Ok(unpacked.inside.finish().0)
    }

    pub(crate) async fn first_copy(&self, entry: &Entry) -> Result<(Unpacked, u64, Meter), StepError> {
        let mut last = StepError::not_found(format!("no copy of `{}` is left", entry.name));
        for copy in &entry.copies {
            let meter = Meter::default();
            match self.open_dump(entry, copy.location, None, &meter).await {
                Ok(unpacked) => return Ok((unpacked, copy.bytes, meter)),
                Err(failure) => last = explain(entry, failure),
            }
        }
        Err(last)
    }
}

fn cannot_write(error: std::io::Error) -> StepError {
    StepError::failed(format!("the dump cannot be written: {error}")).source(error)
}
