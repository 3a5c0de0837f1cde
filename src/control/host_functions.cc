// SPDX-License-Identifier: Apache-2.0
#include "control/host_functions.h"

#include "control/validate_nvme.h"
#include "core/hash.h"
#include "node/node.h"
#include "nvme/spec/fabrics.h"
#include "platform/host_platform.h"

namespace remora::control {

namespace {

core::HostFunction function_at(const opi::PciEndpoint& pcie) {
    return {static_cast<std::uint32_t>(pcie.physical_function().value()),
            static_cast<std::uint32_t>(pcie.virtual_function().value())};
}

}  // namespace

core::HostFunction function_of(const opi::VirtioBlk& disk) {
    return function_at(disk.pcie_id());
}

core::HostFunction function_of(const opi::NvmeController& controller) {
    return function_at(controller.spec().pcie_id());
}

std::uint16_t controller_id_of(core::HostFunction function) {
    // From 1 on: those of the physical ones first, then of all first virtual ones, and so on.
    constexpr std::uint32_t kMost = platform::kMaxFunctions * (platform::kMaxVirtualFunctions + 1);
    static_assert(kMost <= nvme::spec::kMaxControllerId);
    return static_cast<std::uint16_t>(function.vf * platform::kMaxFunctions + function.pf + 1);
}

std::string spoken_name(const opi::VirtioBlk& disk) {
    return "virtioBlks/" + std::string(last_segment(disk.name()));
}

std::string spoken_name(const opi::NvmeController& controller) {
    return controller.name();
}

namespace {

template <typename M>
std::optional<FunctionHolder> find_holder(const Model& model, core::HostFunction function) {
    const Object<M>* found = on_function<M>(model, function);
    return found == nullptr ? std::nullopt
                            : std::optional(FunctionHolder{spoken_name(found->resource),
                                                           found->known.attachment()});
}

}  // namespace

std::optional<FunctionHolder> holder_of_function(const Model& model, core::HostFunction function) {
    auto holder = find_holder<opi::VirtioBlk>(model, function);
    return holder ? holder : find_holder<opi::NvmeController>(model, function);
}

core::Result<void> check_free_function(const Model& model, core::HostFunction function) {
    const auto holder = holder_of_function(model, function);
    if (!holder) {
        return {};
    }
    return core::fail(core::ErrorKind::AlreadyExists,
                      "host function " + function.text() + " is in use by " +
                          (holder->attachment.empty() ? holder->name : holder->attachment));
}

std::string node_controller_name(const opi::NvmeController& controller) {
    return "nvme-" + function_of(controller).text() + "-" +
           core::hex_digits(core::fnv1a(controller.name()), 8);
}

core::Result<reactor::Endpoint> way_of(const opi::NvmeController& controller) {
    if (is_host_function(controller)) {
        return node::way_of_function(node_controller_name(controller));
    }
    return endpoint_of(controller);
}

}  // namespace remora::control
