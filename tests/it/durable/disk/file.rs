//! A file of the test disk that is open for writing.

use std::io::{self, Write};

use nas_engine::disk::DiskFile;

use super::content::Step;
use super::{Fate, TestDisk};

/// Writes at the end of a content.
#[derive(Debug)]
pub struct TestFile {
    pub disk: TestDisk,
    /// Of its content.
    pub number: usize,
    /// Of its syncs.
    pub kind: String,
}

impl Write for TestFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let fate = state.call_write(bytes.len())?;
        let bytes = match fate {
            Fate::Half => &bytes[..bytes.len() / 2],
            _ => bytes,
        };
        let content = &mut state.contents[self.number];
        content.now.extend(bytes);
        content.steps.push(Step::Written(bytes.into()));
        fate.heard(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for TestFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(false)?.heard(())?;
        let is_cut = matches!(state.contents[self.number].steps.last(), Some(Step::Cut(_)));
        let what = if is_cut { "cut" } else { "bytes" };
        if state.is_synced(format!("{what} of {}", self.kind)) {
            state.contents[self.number].sync();
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_alive()?;
        Ok(state.contents[self.number].now.len() as u64)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.call(false)?;
        let content = &mut state.contents[self.number];
        content.now.truncate(length as usize);
        content.steps.push(Step::Cut(length as usize));
        fate.heard(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.state();
        state.check_alive()?;
        let is_free = !state.contents[self.number].is_locked;
        state.contents[self.number].is_locked = true;
        Ok(is_free)
    }

    fn unlock(&self) -> io::Result<()> {
        self.disk.state().contents[self.number].is_locked = false;
        Ok(())
    }
}
