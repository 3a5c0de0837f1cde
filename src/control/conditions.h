// SPDX-License-Identifier: Apache-2.0
// Conditions: whether each resource does what it is there for, why not, and for how long it has
// been so. Looked at every second and whenever somebody asks; changes go to the watchers. Control
// reactor only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "control/context.h"
#include "control/watch.h"
#include "reactor/gate.h"
#include "reactor/signal.h"

namespace remora::control {

using reactor::Task;

class Conditions {
  public:
    Conditions(Context& context, WatchHub& watchers) : context_(context), watchers_(watchers) {}

    Task<core::Result<api::ListConditionsResponse>> list(const api::ListConditionsRequest& request);

    /// Looks in the background until stop().
    void start();
    Task<bool> stop(core::Nanos deadline);

  private:
    struct Seen {
        std::string kind;  ///< The full name of its message.
        api::ResourceConditions conditions;
        std::vector<core::Nanos> since;  ///< Of each condition.
    };
    static Task<> run(Conditions* self);
    void look();
    static void fill_ages(Seen& seen, core::Nanos now);

    Context& context_;
    WatchHub& watchers_;
    std::map<std::string, Seen> seen_;  // by kind and name
    reactor::Gate gate_;
    reactor::Signal stop_signal_;
};

}  // namespace remora::control
