// SPDX-License-Identifier: Apache-2.0
// FakeFunctions: the part of the control plane's fake data plane that is about NVMe controllers on
// vfio-user sockets.
#pragma once

#include <map>
#include <set>
#include <string>

#include "node/node.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

class FakeFunctions : public node::Node {
  public:
    explicit FakeFunctions(Steps& steps);
    ~FakeFunctions() override;

    std::map<std::string, node::VfioNvmeSpec> functions;
    /// Controllers whose client has gone and does not come back: QEMU's after a restart of ours.
    std::set<std::string> lost_functions;
    bool refuses_functions = false;

    reactor::Task<core::Result<void>> create_vfio_nvme(node::VfioNvmeSpec spec) override;
    reactor::Task<core::Result<void>> delete_vfio_nvme(std::string name) override;
    reactor::Task<core::Result<void>> set_vfio_nvme_rates(std::string name,
                                                          node::Rates rates) override;
    reactor::Task<core::Result<node::VfioNvmeStatus>> vfio_nvme_status(std::string name) override;
    reactor::Task<core::Result<block::DeviceStats>> vfio_nvme_stats(std::string name) override;

  private:
    static std::unexpected<core::Error> none(const std::string& name);

    Steps& function_steps_;
};

}  // namespace remora::test
