//! `nas-engine watch`: a search in the terminal, while it runs or afterwards: its history, the children
//! under way, the best so far. It only reads.

mod rewards;
mod screen;
mod view;
mod words;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, is_raw_mode_enabled, size};
use ratatui::layout::Rect;
use ratatui::{DefaultTerminal, TerminalOptions, Viewport};

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
    // A time limit in the environment is that of a search.
    let stop = stop::flag(&TimeFlags { time_limit: None })?;
    let every = Duration::from_secs(flags.every.unsigned_abs());
    let watched = watch(&mut view, every, &stop);
    if is_raw_mode_enabled().unwrap_or(true) {
        ratatui::restore();
    }
    watched?;
    // It may have been a while since the last look; the one before serves where nothing can be read now.
    let last = View::read(&flags.run).unwrap_or(view);
    output.note(&words::closing(&last));
    Ok(())
}

/// Draws a run until a key or a signal ends it.
fn watch(view: &mut View, every: Duration, stop: &AtomicBool) -> Result<(), Failure> {
    let mut drawn = area();
    let mut screen = take_screen(drawn).map_err(|error| failed(&error))?;
    let mut looked = Instant::now();
    loop {
        let area = area();
        if area != drawn {
            screen.resize(area).map_err(|error| failed(&error))?;
            drawn = area;
        }
        let done = screen.draw(|frame| screen::draw(frame, view));
        done.map_err(|error| failed(&error))?;
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
        view.look()?;
        looked = Instant::now();
    }
}

/// What is drawn on now.
fn area() -> Rect {
    screen::area(size().unwrap_or_default())
}

/// Takes the terminal. It is drawn on as far as told here: its own size may be none.
fn take_screen(area: Rect) -> io::Result<DefaultTerminal> {
    let viewport = Viewport::Fixed(area);
    let screen = ratatui::try_init_with_options(TerminalOptions { viewport })?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    Ok(screen)
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

fn failed(error: &io::Error) -> Failure {
    Failure::new(Kind::Run, format!("cannot draw on the terminal: {error}"))
}
