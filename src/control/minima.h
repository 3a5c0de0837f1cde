// SPDX-License-Identifier: Apache-2.0
// Minimum rates: what of which back end is promised to whom, and whether it can be. Reads the
// model; the promises are what OPI's min_limit and limits.min say, and capacities are remora.v1's.
//
// A volume that is made of one other competes as that one does; what is asked for on the way down
// (a QoS volume, a host disk) is the same I/O, so the greater counts. A controller's commands may
// go to each of its subsystem's namespaces, so those have to be of one back end.
#pragma once

#include <string>
#include <string_view>

#include "control/context.h"
#include "control/model.h"
#include "node/node.h"

namespace remora::control {

/// What a call is about to store or to erase, in the place of what is there.
struct Intended {
    const Object<opi::QosVolume>* qos = nullptr;
    const Object<opi::VirtioBlk>* disk = nullptr;
    const Object<opi::NvmeController>* controller = nullptr;
    const Object<opi::NvmeNamespace>* space = nullptr;
    const Object<api::Capacity>* capacity = nullptr;
    std::string_view gone = {};  ///< Name of a capacity.
};

/// What the data plane is to keep.
node::Competition competition_of(const Model& model, const Intended& intended = {});

/// Whether it can be kept; `field` is what the call asked it with. Errors: FailedPrecondition (no
/// capacity is declared, or none of that kind; a volume that has no back end of its own),
/// ResourceExhausted with the figures.
core::Result<void> check_minima(std::string_view field,
                                const Model& model,
                                const Intended& intended);

/// How much of the back end's capacity is promised, of 1.
double promised_of(const node::Competition& competition, const std::string& pool);

/// The data plane's name of the capacity's back end.
std::string pool_of(const api::Capacity& capacity);

/// Tells the data plane, after a commit.
reactor::Task<> renew_competition(Context& context);

}  // namespace remora::control
