//! What `watch` says of a run, in words.

use super::view::View;
use crate::report;
use crate::run::state::State;
use crate::text;

/// Children under way that are named.
const NAMED: usize = 12;

/// Letters of a name that are shown before there is room for more than the state.
const NAME: usize = 12;

/// The run and its state, in a line of so many letters: of a name that is too long the end, and after the
/// state what fits.
pub fn heading(view: &View, width: usize) -> String {
    let mut words = format!(": {}", view.state.word());
    let repeats = format!(", {} repeats", text::count(view.repeats));
    let failures = view.failures.iter().map(|(how, n)| format!("{n} {how}"));
    let failures: Vec<String> = failures.collect();
    let failed = format!(", failed: {}", failures.join(", "));
    let name = text::one_line(&view.name);
    let beside = name.chars().count().min(NAME);
    for (is_there, part) in [(view.repeats > 0, repeats), (!failures.is_empty(), failed)] {
        if is_there && beside + words.len() + part.len() <= width {
            words += &part;
        }
    }
    let (length, room) = (name.chars().count(), width.saturating_sub(words.len()));
    match length > room {
        true => {
            let end = name.chars().skip(length - room.saturating_sub(1));
            format!("…{}{words}", end.collect::<String>())
        }
        false => format!("{name}{words}"),
    }
}

/// How many samples have ended.
pub fn samples(view: &View) -> String {
    format!(
        "{} of {} samples",
        text::count(view.samples),
        text::count(view.total)
    )
}

/// How far it is, in a line of so many letters: what does not fit is left out from the end.
pub fn progress(view: &View, width: usize) -> String {
    let runs = view.state == State::Running;
    let mut words = samples(view);
    let more = match (view.samples, view.begun) {
        (0, Some(begun)) if runs => vec![format!(", begun {} ago", text::duration(begun))],
        (0, _) => vec![],
        _ => {
            let left = view.seconds_left.filter(|_| runs);
            let more = [
                Some(format!(" in {}", text::duration(view.seconds))),
                view.pace.map(|pace| format!(", {pace:.0} an hour")),
                left.map(|left| format!(", {} left", text::duration(left))),
            ];
            more.into_iter().flatten().collect()
        }
    };
    for part in more {
        if words.len() + part.len() > width {
            break;
        }
        words += &part;
    }
    words
}

/// In place of the curves, where there are none.
pub fn no_curve(view: &View) -> String {
    match view.samples {
        0 => report::none_ended(view.state, view.under_way.len()),
        _ => "no child has a reward yet".to_owned(),
    }
}

/// What the children are that [`children`] names, with their number.
pub fn children_title(view: &View) -> String {
    let what = match view.state {
        State::Running | State::Finished => "under way",
        State::Stopped => "not ended, kept in checkpoints",
        State::Unknown => "with checkpoints",
    };
    match view.under_way.len() {
        0 => what.to_owned(),
        n => format!("{what}: {}", text::count(n as u64)),
    }
}

/// The children under way, with the epochs that their checkpoints have.
pub fn children(view: &View) -> String {
    let named = view.under_way.iter().take(NAMED);
    let named = named.map(|child| match child.epochs {
        Some(epochs) => format!("{} ({epochs} of {} epochs)", child.sample, view.epochs),
        None => child.sample.to_string(),
    });
    let named: Vec<String> = named.collect();
    if named.is_empty() {
        let age = view.age.filter(|_| view.state == State::Running);
        return age.map_or("none".to_owned(), |age| {
            format!(
                "no child seen; last line of the journal {} ago",
                text::duration(age)
            )
        });
    }
    let sample = if named.len() == 1 {
        "sample"
    } else {
        "samples"
    };
    let more = match view.under_way.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {} more", text::count(more as u64)),
    };
    let any_kept = view.under_way.iter().any(|child| child.epochs.is_some());
    let kept = match (view.state, any_kept) {
        (State::Running, true) => "; epochs as of their last checkpoints",
        (State::Running, false) => "; no checkpoint yet",
        _ => "",
    };
    format!("{sample} {}{more}{kept}", named.join(", "))
}

/// How this view ends, and what becomes of the search.
pub fn foot(view: &View) -> String {
    let words = match (view.state, &view.final_training) {
        (State::Running, _) => "the search goes on",
        (_, Some(line)) => line,
        (State::Finished, None) => "the search is finished",
        (State::Stopped, None) => "the search has stopped",
        (State::Unknown, None) => "whether the search goes on cannot be seen",
    };
    format!("q ends this view; {words}")
}

/// The last words, on the terminal that the view has left.
pub fn closing(view: &View) -> String {
    let (samples, run) = (samples(view), text::shell_path(&view.path));
    let and_final = view.final_training.iter().map(|line| format!("; {line}"));
    let and_final: String = and_final.collect();
    match view.state {
        State::Running => format!("the search goes on: {samples} so far"),
        State::Finished => format!("the search is finished: {samples}{and_final}"),
        State::Stopped => format!(
            "the search has stopped: {samples} are on record; go on with: nas-engine search --resume {run}{and_final}"
        ),
        State::Unknown => format!(
            "{samples} are on record; whether a process in another container or on another machine works on \
             the search cannot be seen from here{and_final}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::under_way::UnderWay;

    const STATES: [State; 4] = [
        State::Running,
        State::Finished,
        State::Stopped,
        State::Unknown,
    ];

    fn view(state: State, samples: u64, under_way: &[(u64, Option<usize>)]) -> View {
        let under_way = under_way.iter();
        View {
            path: "runs/a b".into(),
            name: "runs/a b".to_owned(),
            state,
            samples,
            total: 48,
            epochs: 3,
            begun: Some(70.0),
            age: Some(5.0),
            seconds: 65.0,
            seconds_left: Some(60.0),
            pace: Some(1329.0),
            under_way: under_way
                .map(|&(sample, epochs)| UnderWay { sample, epochs })
                .collect(),
            ..View::default()
        }
    }

    #[test]
    fn the_last_words_fit_the_state() {
        let ends = STATES.map(|state| closing(&view(state, 24, &[])));
        assert_eq!(
            ends,
            [
                "the search goes on: 24 of 48 samples so far",
                "the search is finished: 24 of 48 samples",
                "the search has stopped: 24 of 48 samples are on record; go on with: nas-engine search \
                 --resume 'runs/a b'",
                "24 of 48 samples are on record; whether a process in another container or on another \
                 machine works on the search cannot be seen from here",
            ]
        );
        for state in STATES {
            let goes_on = foot(&view(state, 24, &[])).ends_with("; the search goes on");
            assert_eq!(goes_on, state == State::Running);
        }
        let line = "final training running; 3 of 8 trainings of the grid have ended";
        let finished = View {
            final_training: Some(line.to_owned()),
            ..view(State::Finished, 48, &[])
        };
        assert_eq!(foot(&finished), format!("q ends this view; {line}"));
        let words = format!("the search is finished: 48 of 48 samples; {line}");
        assert_eq!(closing(&finished), words);
    }

    #[test]
    fn children_are_said_to_be_under_way_only_where_they_are() {
        let two = [(0, None), (1, Some(2))];
        let said = STATES.map(|state| {
            let view = view(state, 0, &two);
            [no_curve(&view), children_title(&view), children(&view)].join(" | ")
        });
        assert_eq!(
            said,
            [
                "no child has ended yet; 2 under way | under way: 2 | samples 0, 1 (2 of 3 epochs); epochs as of \
                 their last checkpoints",
                "no child has ended yet; 2 have checkpoints | under way: 2 | samples 0, 1 (2 of 3 epochs)",
                "it stopped before any child ended; 2 have checkpoints | not ended, kept in checkpoints: 2 | \
                 samples 0, 1 (2 of 3 epochs)",
                "no child has ended yet; 2 have checkpoints | with checkpoints: 2 | samples 0, 1 (2 of 3 epochs)",
            ]
        );
        let begun = view(State::Running, 0, &[(7, None)]);
        assert_eq!(children(&begun), "sample 7; no checkpoint yet");
        let none = |state| children(&view(state, 1, &[]));
        assert_eq!(
            none(State::Running),
            "no child seen; last line of the journal 5.0s ago"
        );
        assert_eq!(none(State::Finished), "none");
        assert_eq!(
            no_curve(&view(State::Running, 1, &[])),
            "no child has a reward yet"
        );
        let many: Vec<_> = (0..1020).map(|sample| (sample, None)).collect();
        let words = children(&view(State::Stopped, 0, &many));
        assert!(words.ends_with("10, 11 and 1,008 more"), "{words}");
    }

    #[test]
    fn a_line_is_as_long_as_there_is_room() {
        let view = |samples| view(State::Running, samples, &[]);
        let all = "24 of 48 samples in 1m 05s, 1329 an hour, 1m 00s left";
        assert_eq!(progress(&view(24), 80), all);
        assert_eq!(progress(&view(24), all.len()), all);
        assert_eq!(progress(&view(24), 40), &all[..40]);
        assert_eq!(progress(&view(24), 39), &all[..26]);
        assert_eq!(progress(&view(24), 1), &all[..16]);
        assert_eq!(progress(&view(0), 80), "0 of 48 samples, begun 1m 10s ago");
        for (width, words) in [
            (17, "runs/a b: running"),
            (16, "…ns/a b: running"),
            (11, "…b: running"),
            (3, "…: running"),
        ] {
            assert_eq!(heading(&view(24), width), words);
        }
        let failed = View {
            repeats: 3,
            failures: vec![("diverged", 2)],
            ..view(24)
        };
        let all = "runs/a b: running, 3 repeats, failed: 2 diverged";
        assert_eq!(heading(&failed, all.len()), all);
        assert_eq!(heading(&failed, all.len() - 1), &all[..28]);
        assert_eq!(heading(&failed, 27), &all[..17]);
    }
}
