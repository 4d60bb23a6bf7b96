//! What a provisioned host has to be, and what is missing for that, decided from facts the caller collects.

mod address;
mod decide;
mod endpoint;
mod instance;
mod public_key;
mod size;
mod user_data;
mod wanted;

pub use address::address;
pub use decide::{Change, Refusal, Step, decide};
pub use endpoint::{BadEndpoint, BadFingerprint, Endpoint, Fingerprint};
pub use instance::{
    Address, Device, Devices, Image, ImageAlias, Instance, InstanceState, Interface, NewInstance, Profile,
    Settings, Source,
};
pub use public_key::{BadPublicKey, PublicKey};
pub use size::bytes;
pub use user_data::user_data;
pub use wanted::{Facts, HOST_MARK, RIG_MARK, USER_DATA, Unfit, Wanted};
