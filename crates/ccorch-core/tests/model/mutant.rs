//! Faults that are planted in the model on purpose: a rule each, left out or turned round. A search that does not find them
//! would not find the same fault in the program either. Three are not among them, because nothing of them shows: that the file
//! comes before the ref, where a boot waits for the arbiter; that a driver reads the copies once more after its claim, where
//! what was begun is begun again and the arbiter refuses the rest; and that what a target gives back has a turn of its own,
//! where the end alone refuses every driver.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The source keeps running through the cutover.
    QuiesceStopsNothing,
    /// The source stays active when the target becomes so.
    NoFence,
    /// Both sides are never compared, and nothing is carried.
    NoSyncNoProof,
    /// What changed is carried to the source instead of the target.
    SyncTheWrongWay,
    /// The way back throws away what the target has done.
    NoSyncBack,
    /// A sync overwrites what only its receiver has.
    SyncDropsWork,
    /// Hosts and the arbiter do the bidding of any driver.
    NoTurns,
    /// The arbiter's value is written over, whatever it is by now.
    NoCompareAndSet,
    /// A host starts what its lease does not allow.
    StartWithoutLease,
    /// Who was taken over from runs on.
    NoDemotion,
    /// What a look left running that died before its stop, no later one stops.
    HalfADemotion,
    /// A driver that goes on passes over a host whose rig is its owner's.
    PassOverItsOwners,
    /// A driver that takes over from another one is content with what one host tells.
    HearOneHost,
    /// While the arbiter is away, the way back goes by what the writer's own file says of the target.
    OwnFileCounts,
    /// A step is begun that only its driver knows of: the host that answers keeps no copies.
    NobodyKeepsIt,
    /// A driver that goes on does not look whether its owner's rig was started again.
    NoLookAtTheMark,
    /// Who may start its owner's rig is asked first, and acted upon later.
    AskThenAct,
    /// The target gives the lease back and runs on.
    GiveBackRunsOn,
    /// A failed target stops its loops although the cutover is over, and the rig its own by somebody's word.
    StandsDownAfterTheEnd,
    /// A driver that slept between its preflight and its first turn does not ask whether the lease is still there.
    NoLookAfterTheClaim,
    /// A failed target waits for a driver for ever.
    NoFallBack,
    /// A source that takes the lease up does not fetch what was pushed.
    NoCatchUp,
    /// A boot keeps the lease that it had before, whatever the arbiter says.
    NoAcquire,
}

impl Mutant {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::QuiesceStopsNothing,
        Self::NoFence,
        Self::NoSyncNoProof,
        Self::SyncTheWrongWay,
        Self::NoSyncBack,
        Self::SyncDropsWork,
        Self::NoTurns,
        Self::NoCompareAndSet,
        Self::StartWithoutLease,
        Self::NoDemotion,
        Self::HalfADemotion,
        Self::PassOverItsOwners,
        Self::HearOneHost,
        Self::OwnFileCounts,
        Self::NobodyKeepsIt,
        Self::NoLookAtTheMark,
        Self::AskThenAct,
        Self::GiveBackRunsOn,
        Self::StandsDownAfterTheEnd,
        Self::NoLookAfterTheClaim,
        Self::NoFallBack,
        Self::NoCatchUp,
        Self::NoAcquire,
    ];
}
