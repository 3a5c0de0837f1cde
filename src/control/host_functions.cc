// SPDX-License-Identifier: Apache-2.0
#include "control/host_functions.h"

#include "control/validate_nvme.h"
#include "core/hash.h"
#include "node/node.h"

namespace remora::control {

std::uint32_t function_of(const opi::VirtioBlk& disk) {
    return static_cast<std::uint32_t>(disk.pcie_id().physical_function().value());
}

std::uint32_t function_of(const opi::NvmeController& controller) {
    return static_cast<std::uint32_t>(controller.spec().pcie_id().physical_function().value());
}

std::string spoken_name(const opi::VirtioBlk& disk) {
    return "virtioBlks/" + std::string(last_segment(disk.name()));
}

std::string spoken_name(const opi::NvmeController& controller) {
    return controller.name();
}

namespace {

template <typename M>
std::optional<FunctionHolder> find_holder(const Model& model, std::uint32_t function) {
    const Object<M>* found = on_function<M>(model, function);
    return found == nullptr ? std::nullopt
                            : std::optional(FunctionHolder{spoken_name(found->resource),
                                                           found->known.attachment()});
}

}  // namespace

std::optional<FunctionHolder> holder_of_function(const Model& model, std::uint32_t function) {
    auto holder = find_holder<opi::VirtioBlk>(model, function);
    return holder ? holder : find_holder<opi::NvmeController>(model, function);
}

core::Result<void> check_free_function(const Model& model, std::uint32_t function) {
    const auto holder = holder_of_function(model, function);
    if (!holder) {
        return {};
    }
    return core::fail(core::ErrorKind::AlreadyExists,
                      "host function " + std::to_string(function) + " is in use by " +
                          (holder->attachment.empty() ? holder->name : holder->attachment));
}

std::string node_controller_name(const opi::NvmeController& controller) {
    return "nvme-" + std::to_string(function_of(controller)) + "-" +
           core::hex_digits(core::fnv1a(controller.name()), 8);
}

core::Result<reactor::Endpoint> way_of(const opi::NvmeController& controller) {
    if (is_host_function(controller)) {
        return node::way_of_function(node_controller_name(controller));
    }
    return endpoint_of(controller);
}

}  // namespace remora::control
