// SPDX-License-Identifier: Apache-2.0
// The functions of the local host: which resource has which. Virtio-blk devices and NVMe
// controllers over PCIe share them. Pure functions over the model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "control/model.h"
#include "core/host_function.h"
#include "core/result.h"
#include "reactor/endpoint.h"

namespace remora::control {

/// Whether it is a function of the local host at all.
inline bool is_host_function(const opi::VirtioBlk& /*disk*/) {
    return true;
}
inline bool is_host_function(const opi::NvmeController& controller) {
    return controller.spec().trtype() == opi::NVME_TRANSPORT_TYPE_PCIE;
}

/// Of one that is.
core::HostFunction function_of(const opi::VirtioBlk& disk);
core::HostFunction function_of(const opi::NvmeController& controller);
/// Of an attachment or a host disk, or that a call asks for.
template <typename M>
core::HostFunction attached_function(const M& attachment) {
    return {static_cast<std::uint32_t>(attachment.host_function()),
            static_cast<std::uint32_t>(attachment.host_virtual_function())};
}
/// The number of an NVMe controller there: hosts tell those of a subsystem apart by it.
std::uint16_t controller_id_of(core::HostFunction function);

/// As texts for people name it.
std::string spoken_name(const opi::VirtioBlk& disk);
std::string spoken_name(const opi::NvmeController& controller);

/// What of the kind has the function; null: nothing.
template <typename M>
const Object<M>* on_function(const Model& model, core::HostFunction function) {
    for (const auto& [name, object] : model.table<M>()) {
        if (is_host_function(object.resource) && function_of(object.resource) == function) {
            return &object;
        }
    }
    return nullptr;
}

struct FunctionHolder {
    std::string name;        ///< Spoken.
    std::string attachment;  ///< That it was made for; empty when a client made it.
};
/// Who has the function, also one on its way in or out.
std::optional<FunctionHolder> holder_of_function(const Model& model, core::HostFunction function);
/// Errors: AlreadyExists, naming the holder.
core::Result<void> check_free_function(const Model& model, core::HostFunction function);

/// The data plane's name of a controller that is a function of the host, and of its socket. It is
/// this controller's alone: what a host was given by another at the same place is not taken for it.
std::string node_controller_name(const opi::NvmeController& controller);

/// Where the controller's commands come in: its listener, or what stands for its function.
core::Result<reactor::Endpoint> way_of(const opi::NvmeController& controller);

}  // namespace remora::control
