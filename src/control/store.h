// SPDX-License-Identifier: Apache-2.0
// Store: where the desired state lives, behind a small interface so that a simulated one (lost
// writes, a crash between two calls) can stand in for SQLite.
//
// A commit is one transaction: all of its changes are durable when it returns, or none is there.
// Used on the control reactor only.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/result.h"

namespace remora::control {

/// What kind of object a record is. Stored by its text (store_text), never by its number.
enum class Kind {
    MallocVolume,
    NullVolume,
    AioVolume,
    NvmeSubsystem,
    NvmeController,
    NvmeNamespace,
    NvmeRemoteController,
    NvmePath,
    VirtioBlk,
    Attachment,
    DiscoveryReferral,
    QosVolume,
    EncryptedVolume,
    RaidVolume,
    IntegrityVolume,
    FaultInjection,
    Capacity,
    KeyVerifier,  ///< Not a resource: by a volume's UUID, of the last key that it had.
    Identity,     ///< Not a resource: who this machine is as an NVMe host.
};

/// The kind's fixed name in the store, e.g. "malloc_volume".
std::string_view store_text(Kind kind) noexcept;

/// Objects are keyed by kind and name: two kinds may use one name (OPI's clients do).
struct StoredObject {
    Kind kind = Kind::MallocVolume;
    std::string name;
    std::string body;  ///< A remora.state.v1.Record.
};

/// One step of a transaction.
struct Change {
    enum class Action { Put, Erase };
    Action action = Action::Put;
    StoredObject object;  ///< Erase needs no body.
};

class Store {
  public:
    virtual ~Store() = default;
    /// Everything, in no particular order. Errors: DataLoss when what is there cannot be read.
    virtual core::Result<std::vector<StoredObject>> load() = 0;
    /// All of `changes` or none, durable on return. Errors: Internal, ResourceExhausted (disk
    /// full).
    virtual core::Result<void> commit(std::span<const Change> changes) = 0;
};

}  // namespace remora::control
