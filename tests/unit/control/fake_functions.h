// SPDX-License-Identifier: Apache-2.0
// FakeFunctions: the part of the control plane's fake data plane that is about NVMe controllers on
// vfio-user sockets.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "node/node.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

class FakeFunctions : public node::Node {
  public:
    explicit FakeFunctions(Steps& steps) : function_steps_(steps) {}

    std::map<std::string, node::VfioNvmeSpec> functions;
    /// Controllers whose client has gone and does not come back: QEMU's after a restart of ours.
    std::set<std::string> lost_functions;
    bool refuses_functions = false;

    reactor::Task<core::Result<void>> create_vfio_nvme(node::VfioNvmeSpec spec) override {
        if (auto step = function_steps_.take("create_vfio_nvme"); !step) {
            co_return step;
        }
        if (refuses_functions) {
            co_return core::fail(core::ErrorKind::FailedPrecondition, "the path is taken");
        }
        const std::string name = spec.name;
        if (!functions.emplace(name, std::move(spec)).second) {
            co_return core::fail(core::ErrorKind::AlreadyExists, name);
        }
        co_return core::Result<void>();
    }
    reactor::Task<core::Result<void>> delete_vfio_nvme(std::string name) override {
        if (auto step = function_steps_.take("delete_vfio_nvme"); !step) {
            co_return step;
        }
        lost_functions.erase(name);
        co_return functions.erase(name) == 1 ? core::Result<void>() : none(name);
    }
    reactor::Task<core::Result<void>> set_vfio_nvme_rates(std::string name,
                                                          node::Rates rates) override {
        const auto found = functions.find(name);
        if (found == functions.end()) {
            co_return none(name);
        }
        found->second.rates = rates;
        co_return core::Result<void>();
    }
    reactor::Task<core::Result<node::VfioNvmeStatus>> vfio_nvme_status(std::string name) override {
        if (!functions.contains(name)) {
            co_return none(name);
        }
        const bool lost = lost_functions.contains(name);
        co_return node::VfioNvmeStatus{!lost, !lost, lost ? 0U : 1U};
    }
    reactor::Task<core::Result<block::DeviceStats>> vfio_nvme_stats(std::string name) override {
        if (!functions.contains(name)) {
            co_return none(name);
        }
        block::DeviceStats stats;
        stats.read.ops = 7;
        stats.throttled_ns = 11;
        co_return stats;
    }

  private:
    static std::unexpected<core::Error> none(const std::string& name) {
        return core::fail(core::ErrorKind::NotFound, "there is no NVMe controller " + name);
    }
    Steps& function_steps_;
};

}  // namespace remora::test
