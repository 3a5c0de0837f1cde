// SPDX-License-Identifier: Apache-2.0
// Subsystems: the NVMe front end of OPI's API: subsystems, their controllers (listeners) and
// namespaces. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"
#include "control/patience.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

/// What was last set; optimized at first.
node::AnaState ana_state_of(const Object<opi::NvmeController>& controller);

class Subsystems {
  public:
    explicit Subsystems(Context& context) : context_(context) {}

    Task<core::Result<opi::NvmeSubsystem>> create_subsystem(
        const opi::CreateNvmeSubsystemRequest& request);
    Task<core::Result<Empty>> delete_subsystem(const opi::DeleteNvmeSubsystemRequest& request);
    Task<core::Result<opi::NvmeSubsystem>> update_subsystem(
        const opi::UpdateNvmeSubsystemRequest& request);
    Task<core::Result<opi::ListNvmeSubsystemsResponse>> list_subsystems(
        const opi::ListNvmeSubsystemsRequest& request);
    Task<core::Result<opi::NvmeSubsystem>> get_subsystem(
        const opi::GetNvmeSubsystemRequest& request);
    /// The sum over the subsystem's namespaces.
    Task<core::Result<opi::StatsNvmeSubsystemResponse>> stats_subsystem(
        const opi::StatsNvmeSubsystemRequest& request);

    Task<core::Result<opi::NvmeController>> create_controller(
        const opi::CreateNvmeControllerRequest& request);
    Task<core::Result<Empty>> delete_controller(const opi::DeleteNvmeControllerRequest& request);
    Task<core::Result<opi::NvmeController>> update_controller(
        const opi::UpdateNvmeControllerRequest& request);
    Task<core::Result<opi::ListNvmeControllersResponse>> list_controllers(
        const opi::ListNvmeControllersRequest& request);
    Task<core::Result<opi::NvmeController>> get_controller(
        const opi::GetNvmeControllerRequest& request);
    /// A listener does not count by itself: its subsystem's numbers.
    Task<core::Result<opi::StatsNvmeControllerResponse>> stats_controller(
        const opi::StatsNvmeControllerRequest& request);

    Task<core::Result<api::AnaPort>> set_ana_state(const api::SetAnaStateRequest& request);
    Task<core::Result<api::AnaPort>> get_ana_state(const api::GetAnaStateRequest& request);

    Task<core::Result<opi::NvmeNamespace>> create_namespace(
        const opi::CreateNvmeNamespaceRequest& request);
    Task<core::Result<Empty>> delete_namespace(const opi::DeleteNvmeNamespaceRequest& request);
    Task<core::Result<opi::NvmeNamespace>> update_namespace(
        const opi::UpdateNvmeNamespaceRequest& request);
    Task<core::Result<opi::ListNvmeNamespacesResponse>> list_namespaces(
        const opi::ListNvmeNamespacesRequest& request);
    Task<core::Result<opi::NvmeNamespace>> get_namespace(
        const opi::GetNvmeNamespaceRequest& request);
    /// The counters of the volume behind it.
    Task<core::Result<opi::StatsNvmeNamespaceResponse>> stats_namespace(
        const opi::StatsNvmeNamespaceRequest& request);

    /// Builds every stored subsystem, then its namespaces, then its listeners: who connects sees
    /// all. What cannot be built is logged and left out; a listener is tried again later.
    Task<> rebuild(Patience& patience);
    /// Opens listeners that could not be opened at the start; true when none is left.
    Task<bool> open_unserved();

  private:
    Task<core::Result<opi::VolumeStats>> sum_of_namespaces(std::string subsystem);
    Task<core::Result<std::uint32_t>> build_namespace(const Object<opi::NvmeNamespace>& object,
                                                      const std::string& nqn);

    Task<core::Result<opi::NvmeController>> open_controller(Object<opi::NvmeController> made,
                                                            std::string nqn,
                                                            reactor::Endpoint endpoint);
    Task<core::Result<void>> limit_controller(Object<opi::NvmeController> controller);
    Task<core::Result<void>> listen(const Object<opi::NvmeController>& object);

    Context& context_;
};

}  // namespace remora::control
