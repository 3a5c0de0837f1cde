// SPDX-License-Identifier: Apache-2.0
// ControlPlane: desired state and the calls that change it, on one reactor. It knows no gRPC: the
// services are thin adapters over it (grpc/), and a simulation can drive it as it is.
//
// Made, used and destroyed on the control reactor.
#pragma once

#include "control/attachments.h"
#include "control/capacities.h"
#include "control/conditions.h"
#include "control/context.h"
#include "control/disks.h"
#include "control/encrypted_volumes.h"
#include "control/fault_injections.h"
#include "control/integrity_volumes.h"
#include "control/layer_builder.h"
#include "control/overview.h"
#include "control/qos_volumes.h"
#include "control/raid_volumes.h"
#include "control/reconciler.h"
#include "control/referrals.h"
#include "control/remotes.h"
#include "control/reservations.h"
#include "control/status.h"
#include "control/subsystems.h"
#include "control/uncorrectable.h"
#include "control/virtio_blks.h"
#include "control/virtio_scsis.h"
#include "control/volumes.h"
#include "control/watch.h"
#include "reactor/gate.h"

namespace remora::control {

class ControlPlane {
  public:
    ControlPlane(Store& store,
                 node::Node& node,
                 platform::HostPlatform& host,
                 core::Prng prng,
                 Options options);
    ControlPlane(const ControlPlane&) = delete;
    ControlPlane& operator=(const ControlPlane&) = delete;

    /// Loads the desired state and builds it anew. Once, before any call. Errors: DataLoss.
    Task<core::Result<void>> start();
    /// Lets no further call in and returns when the last has ended; false when one has not by the
    /// deadline (a benchmark, a guest that does not let go): then the plane must live on.
    Task<bool> stop(core::Nanos deadline);

    /// Every call runs inside this gate.
    reactor::Gate& gate() { return gate_; }

  private:
    Context context_;
    Disks disks_{context_};
    Reservations reservations_{context_};
    Uncorrectable uncorrectable_{context_};
    reactor::Gate gate_;

  public:
    WatchHub watchers{context_.model};
    Conditions conditions{context_, watchers};
    Overview overview{context_};
    Volumes volumes{context_};
    QosVolumes qos_volumes{context_};
    Capacities capacities{context_};
    Subsystems subsystems{context_, disks_};
    Referrals referrals{context_};
    Remotes remotes{context_};
    VirtioBlks virtio_blks{context_, disks_};
    VirtioScsis virtio_scsis{context_};
    EncryptedVolumes encrypted_volumes{context_};
    IntegrityVolumes integrity_volumes{context_};
    RaidVolumes raid_volumes{context_};
    FaultInjections fault_injections{context_};
    Attachments attachments{context_, disks_, subsystems};
    Status status{context_, disks_, attachments};

  private:
    LayerBuilder layer_builder_{context_, {&encrypted_volumes, &integrity_volumes, &raid_volumes}};
    Reconciler reconciler_{context_, disks_, subsystems, virtio_blks, attachments, raid_volumes};
};

}  // namespace remora::control
