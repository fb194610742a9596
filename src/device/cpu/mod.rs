//! stub
pub mod conv;
pub mod simd;

use super::*;
use crate::graph::step::*;
pub struct Cpu;
impl Cpu {
    pub fn new(_t: Option<usize>, _c: Convolution) -> Result<Self, DeviceError> {
        Ok(Cpu)
    }
}
impl Storage for Cpu {
    fn bytes(&self, c: &Content, batch: usize) -> usize {
        match c {
            Content::Images(s) => s.planes() * 8 * s.h * s.w * 4 * batch,
            Content::Values(n) => n * 4,
            Content::Bytes(n) => *n,
        }
    }
    fn packed_bytes(&self, _c: &Conv, _b: usize) -> usize {
        0
    }
    fn scratch_bytes(&self, _c: &Conv, _b: usize) -> usize {
        0
    }
}
impl Device for Cpu {
    fn describe(&self) -> String {
        "cpu".into()
    }
    fn load<'a>(
        &'a self,
        _p: &'a Plan,
        _i: Option<Input<'a>>,
    ) -> Result<Box<dyn Session + 'a>, DeviceError> {
        todo!()
    }
}
