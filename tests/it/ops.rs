//! Every operation: the reference against numbers computed by hand, and the table of
//! `cases`, which says how close other devices come.

mod cpu;
mod literals;

use crate::cases::{self, Outputs, compare, same_bits};
use nas_engine::device::Convolution;
use nas_engine::device::reference::Reference;

/// A comparison that passes whatever it is given would make all of the above worthless.
#[test]
fn a_comparison_finds_one_wrong_value() {
    let cases = cases::all();
    let case = cases.iter().find(|case| case.op == "pool").expect("pools");
    let expected = case.run(&Reference, 1).expect("loads");
    let agrees = |got: &Outputs| compare(&expected, got, &case.tolerance, Convolution::Direct);
    assert_eq!(agrees(&expected), Ok(()));
    for wrong in [f64::NAN, f64::INFINITY, 1e9] {
        let mut got = expected.clone();
        *got.list[0].values.last_mut().expect("values") = wrong;
        let message = agrees(&got).expect_err("a wrong value");
        assert!(
            message.contains("seed 1") && message.contains("at ["),
            "{message}"
        );
        assert!(same_bits(&expected, &got).is_err());
        // A reference that is wrong itself agrees with nothing either.
        assert!(
            wrong.is_finite()
                || compare(&got, &expected, &case.tolerance, Convolution::Direct).is_err()
        );
    }
    let mut nan = expected.clone();
    nan.list[0].values[0] = f64::NAN;
    let both = compare(&nan, &nan, &case.tolerance, Convolution::Direct);
    assert!(both.is_err(), "NaN equals nothing, itself included");
}

/// Every operation has cases, and every case compares something.
#[test]
fn the_table_is_complete() {
    let cases = cases::all();
    for op in [
        "conv",
        "batchnorm",
        "pool",
        "lcn",
        "concat_pad",
        "global_average_pool",
        "classifier",
        "softmax_xent",
        "optim",
        "load_batch",
        "gather",
    ] {
        assert!(cases.iter().any(|case| case.op == op), "no case of {op}");
    }
    for case in &cases {
        let outputs = case.run(&Reference, 1).expect("loads");
        let values: usize = outputs.list.iter().map(|output| output.values.len()).sum();
        assert!(values > 0, "{case} compares nothing");
        let finite = outputs
            .list
            .iter()
            .flat_map(|o| &o.values)
            .all(|x| x.is_finite());
        assert!(finite, "{case} gives a value that is not finite");
    }
}
