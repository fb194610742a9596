//! The engine within one process, as every engine must be.

use std::time::Duration;

use nas_engine::cluster::embedded::Embedded;

use super::conformance::conforms;

#[test]
fn the_embedded_engine_conforms() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(conforms(Embedded::new(None), Duration::from_secs(1)));
}
