//! Cases of local contrast normalisation: images smaller than the window, flat ones, and those
//! where each of the three divisors wins.

use super::{Case, Data, Tolerance};
use nas_engine::graph::Shape;
use nas_engine::graph::step::{Contribution, Step};

/// Two sums of 81 taps in f32, a root and a quotient; x - G*x loses a few bits.
const TOLERANCE: f64 = 3e-6;
/// Where x is flat, x - G*x is rounding alone, 1e-7 of x, over the floor of 1e-4.
const FLAT: f64 = 1e-2;

pub(super) fn cases() -> Vec<Case> {
    let usual = Tolerance::new(TOLERANCE);
    let flat = usual.absolute(FLAT);
    let normal = Data::Normal(0.0, 1.0);
    let groups = Shape {
        groups: vec![3, 9],
        h: 10,
        w: 9,
    };
    let mut spot = vec![0.0; 25 * 25];
    spot[12 * 25 + 12] = 1.0; // s is 0 far from it: the mean divides
    vec![
        case(3, &Shape::new(5, 12, 10), normal.clone(), usual),
        case(2, &Shape::new(9, 20, 17), normal.clone(), usual),
        case(1, &Shape::new(2, 32, 32), normal.clone(), usual),
        case(2, &Shape::new(2, 3, 4), normal.clone(), usual),
        case(2, &Shape::new(8, 13, 5), normal.clone(), usual),
        case(2, &groups, normal, usual),
        case(2, &Shape::new(3, 11, 9), Data::Uniform(0.0, 1.0), usual),
        case(2, &Shape::new(3, 11, 9), Data::Normal(0.0, 1e-5), usual),
        case(1, &Shape::new(1, 25, 25), Data::Literal(spot), usual),
        case(2, &Shape::new(3, 1, 1), Data::Normal(0.0, 1.0), flat),
        case(2, &Shape::new(3, 12, 10), Data::Constant(1.0), flat),
        case(2, &Shape::new(3, 12, 10), Data::Constant(0.0), usual),
    ]
}

fn case(batch: usize, shape: &Shape, data: Data, tolerance: Tolerance) -> Case {
    let shape = shape.clone();
    let what = match &data {
        Data::Literal(_) => "one bright pixel".to_string(),
        data => format!("{data:?}"),
    };
    let name = format!("{:?} {}x{} {what}", shape.groups, shape.h, shape.w);
    Case::new(("lcn", name), batch, [0, 0], tolerance, move |setup| {
        if matches!(data, Data::Literal(_)) {
            setup.on_a_kink(); // s = 0
        }
        let x = setup.images("x", &shape, data.clone());
        let out = setup.builder.images("out", &shape);
        let dout = setup.builder.images("dout", &shape);
        let dx = setup.builder.images("dx", &shape);
        setup.forward(Step::Lcn {
            x,
            out,
            shape: shape.clone(),
        });
        setup.result(out, dout);
        setup.backward(Step::Gather {
            out: dx,
            shape: shape.clone(),
            contributions: vec![Contribution::Lcn { x, dout }],
            norm: None,
        });
        setup.gradient(x, dx);
    })
}
