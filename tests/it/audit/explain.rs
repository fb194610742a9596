//! What `explain` says is what the policy is: probabilities that sum to 1, a log-probability that is
//! theirs, and an update that makes what paid more likely.

use nas_engine::controller::{Controller, ControllerConfig, Scored};
use nas_engine::disk::Real;
use nas_engine::run::history::History;
use nas_engine::run::journal;
use nas_engine::search::explain::{Explanation, explain};
use nas_engine::space::{Space, SpaceConfig};

use super::made::{Made, cells, networks, random};

fn history(made: &Made) -> History {
    let path = made.journal();
    History::new(&path, journal::read(&Real, &path).unwrap()).unwrap()
}

fn explanations(made: &Made) -> Vec<Explanation> {
    let history = history(made);
    let children = history.children.values();
    children
        .map(|child| explain(&made.config, &history, child).unwrap())
        .collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + b.abs())
}

#[test]
fn probabilities_are_those_of_the_decisions() {
    for made in [networks(), random(), cells()] {
        let history = history(&made);
        let space = Space::new(&made.config.space).unwrap();
        for explanation in explanations(&made) {
            let child = &history.children[&explanation.sample];
            assert_eq!(explanation.decisions.len(), child.tokens.len());
            let mut sum = 0.0;
            let mut sum_after = 0.0;
            for (step, decision) in explanation.decisions.iter().enumerate() {
                assert_eq!(
                    (decision.step, decision.chosen),
                    (step, child.tokens[step] as usize)
                );
                assert_eq!(decision.choices.len(), decision.probabilities.len());
                assert!(
                    close(decision.probabilities.iter().sum(), 1.0),
                    "{decision:?}"
                );
                sum += decision.probabilities[decision.chosen].ln();
                if let Some(after) = &decision.probabilities_after {
                    assert!(close(after.iter().sum(), 1.0), "{decision:?}");
                    sum_after += after[decision.chosen].ln();
                }
            }
            assert!(close(explanation.log_probability, sum), "{explanation:?}");
            let update = history.updates.get(&child.batch);
            assert_eq!(
                explanation.baseline,
                update.and_then(|update| update.baseline)
            );
            assert_eq!(
                explanation.log_probability_after.is_some(),
                update.is_some()
            );
            assert!(
                explanation
                    .log_probability_after
                    .is_none_or(|after| close(after, sum_after))
            );
            let advantage = child.reward.zip(explanation.baseline).map(|(r, b)| r - b);
            assert_eq!(
                (explanation.reward, explanation.advantage),
                (child.reward, advantage)
            );
            // The values are those of the architecture.
            let said = space.decode(&child.tokens).unwrap().to_json();
            for decision in explanation.decisions.iter().filter(|d| d.kind == "filters") {
                let filters = format!("\"filters\":{}", decision.choices[decision.chosen]);
                assert!(said.contains(&filters), "{filters} in {said}");
            }
        }
    }
}

#[test]
fn nothing_learns_in_a_random_search_whose_choices_are_even() {
    for explanation in explanations(&random()) {
        assert_eq!((explanation.baseline, explanation.advantage), (None, None));
        for decision in explanation.decisions {
            assert_eq!(decision.probabilities_after, None);
            let even = 1.0 / decision.choices.len() as f64;
            assert!(
                decision.probabilities.iter().all(|p| close(*p, even)),
                "{}",
                decision.kind
            );
        }
    }
}

/// What came before is what was learned until then: the controller of the search itself says so.
#[test]
fn probabilities_before_are_those_of_the_controller_that_drew() {
    let made = networks();
    let history = history(&made);
    let space = Space::new(&made.config.space).unwrap();
    let mut controller = Controller::new(space, &made.config.controller, made.config.search.seed);
    let explanations = explanations(&made);
    for update in history.updates.values() {
        let mut scored = Vec::new();
        for sample in &update.samples {
            let child = &history.children[sample];
            let said = &explanations[*sample as usize];
            assert_eq!(child.tokens, controller.sample(*sample));
            let expected = controller.log_probability(&child.tokens);
            assert!(close(said.log_probability, expected), "{said:?}");
            scored.extend(child.reward.map(|reward| Scored {
                tokens: &child.tokens,
                reward,
            }));
        }
        controller.learn(&scored);
        for sample in &update.samples {
            let expected = controller.log_probability(&history.children[sample].tokens);
            let said = explanations[*sample as usize]
                .log_probability_after
                .unwrap();
            assert!(close(said, expected));
        }
    }
}

/// Along the gradient of a batch of one with positive advantage, its own log-probability grows; and
/// forming a gradient, applying it and moving the baseline is what learning is.
#[test]
fn a_small_step_makes_what_paid_more_likely() {
    for preset in ["sample", "v2", "cell-sample"] {
        let space = Space::new(&SpaceConfig::preset(preset).unwrap()).unwrap();
        for seed in 0..5 {
            let config = ControllerConfig {
                learning_rate: 1e-6,
                hidden: 7,
                init_range: 0.3,
                ..ControllerConfig::default()
            };
            let mut apart = Controller::new(space.clone(), &config, seed);
            let mut whole = Controller::new(space.clone(), &config, seed);
            let tokens = apart.sample(seed);
            for (reward, baseline) in [(0.5, 0.2), (0.1, 0.6)] {
                let before = apart.log_probability(&tokens);
                let scored = [Scored {
                    tokens: &tokens,
                    reward,
                }];
                let gradient = apart.gradient(&scored, baseline);
                apart.apply(&gradient);
                let after = apart.log_probability(&tokens);
                assert_eq!(after > before, reward > baseline, "{preset}, seed {seed}");
            }
            let other = apart.sample(seed + 100);
            let mut again = Controller::new(space.clone(), &config, seed);
            let batch = [(&tokens, 0.5), (&other, 0.3)];
            let batch = batch.map(|(tokens, reward)| Scored { tokens, reward });
            for _ in 0..3 {
                let used = again.baseline(&batch);
                let gradient = again.gradient(&batch, used);
                again.apply(&gradient);
                again.move_baseline(&batch, used);
                assert_eq!(whole.learn(&batch), Some(used));
                assert_eq!(whole.sha256(), again.sha256());
            }
        }
    }
}
