//! temp
use crate::context::LoadedRig;
use anyhow::Result;
use ccorch_io::host::Host;
pub fn sync(_: &LoadedRig, _: &Host, _: &Host) -> Result<String> {
    Ok(String::new())
}
pub fn prove(_: &LoadedRig, _: &Host, _: &Host) -> Result<Vec<String>> {
    Ok(vec![])
}
