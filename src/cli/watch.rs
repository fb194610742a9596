//! `nas-engine watch`: a search in the terminal, while it runs or afterwards: its history, the children
//! under way, the best so far. It only reads.

mod screen;
mod view;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::terminal::is_raw_mode_enabled;

use super::failure::{Failure, Kind};
use super::flags::within;
use super::output::Output;
use super::stop::{self, TimeFlags};
use super::terminal;
use crate::text;
use view::View;

/// How often the keyboard and the stop flag are looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// Flags of `watch`.
#[derive(Args)]
pub struct Flags {
    /// Directory of the run
    run: PathBuf,
    /// Seconds between two looks at the run
    #[arg(long, allow_negative_numbers = true, value_parser = within(1..=3600), value_name = "SECONDS", default_value = "1")]
    every: i64,
    #[command(flatten)]
    time: TimeFlags,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let mut view = View::read(&flags.run)?; // what is wrong with it is told before the screen is taken
    if output.json || !terminal::takes_redraws() {
        let message = format!(
            "watch draws on a terminal, and standard output is none that it can draw on; use \
             `nas-engine status {}`",
            text::shell_path(&flags.run)
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    let stop = stop::flag(&flags.time)?;
    let every = Duration::from_secs(flags.every.unsigned_abs());
    let mut screen = ratatui::try_init().map_err(|error| failed(&error))?;
    let watch = || -> Result<(), Failure> {
        let mut looked = Instant::now();
        loop {
            let drawn = screen.draw(|frame| screen::draw(frame, &view));
            drawn.map_err(|error| failed(&error))?;
            while looked.elapsed() < every {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if event::poll(GLANCE).map_err(|error| failed(&error))? {
                    match event::read().map_err(|error| failed(&error))? {
                        Event::Key(key) if ends(&key) => return Ok(()),
                        Event::Resize(..) => break,
                        _ => {}
                    }
                }
            }
            view = view.again()?;
            looked = Instant::now();
        }
    };
    let watched = watch();
    if is_raw_mode_enabled().unwrap_or(true) {
        ratatui::restore();
    }
    watched
}

/// Whether a key ends it: q, Escape or Ctrl-C.
fn ends(key: &KeyEvent) -> bool {
    let interrupts = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => interrupts,
        _ => false,
    }
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Run, format!("cannot draw on the terminal: {error}"))
}
