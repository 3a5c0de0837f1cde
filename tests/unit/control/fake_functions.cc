// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fake_functions.h"

#include <utility>

namespace remora::test {

FakeFunctions::FakeFunctions(Steps& steps) : function_steps_(steps) {}

FakeFunctions::~FakeFunctions() = default;

reactor::Task<core::Result<void>> FakeFunctions::create_vfio_nvme(node::VfioNvmeSpec spec) {
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

reactor::Task<core::Result<void>> FakeFunctions::delete_vfio_nvme(std::string name) {
    if (auto step = function_steps_.take("delete_vfio_nvme"); !step) {
        co_return step;
    }
    lost_functions.erase(name);
    co_return functions.erase(name) == 1 ? core::Result<void>() : none(name);
}

reactor::Task<core::Result<void>> FakeFunctions::set_vfio_nvme_rates(std::string name,
                                                                     node::Rates rates) {
    const auto found = functions.find(name);
    if (found == functions.end()) {
        co_return none(name);
    }
    found->second.rates = rates;
    co_return core::Result<void>();
}

reactor::Task<core::Result<node::VfioNvmeStatus>> FakeFunctions::vfio_nvme_status(
    std::string name) {
    if (!functions.contains(name)) {
        co_return none(name);
    }
    const bool lost = lost_functions.contains(name);
    co_return node::VfioNvmeStatus{!lost, !lost, lost ? 0U : 1U};
}

reactor::Task<core::Result<block::DeviceStats>> FakeFunctions::vfio_nvme_stats(std::string name) {
    if (!functions.contains(name)) {
        co_return none(name);
    }
    block::DeviceStats stats;
    stats.read.ops = 7;
    stats.throttled_ns = 11;
    co_return stats;
}

std::unexpected<core::Error> FakeFunctions::none(const std::string& name) {
    return core::fail(core::ErrorKind::NotFound, "there is no NVMe controller " + name);
}

}  // namespace remora::test
