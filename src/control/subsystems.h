// SPDX-License-Identifier: Apache-2.0
// Subsystems: the NVMe front end of OPI's API: subsystems, their controllers (listeners, or
// functions of the local host) and namespaces. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"
#include "control/host_devices.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

/// What was last set; optimized at first.
node::AnaState ana_state_of(const Object<opi::NvmeController>& controller);

class Subsystems {
  public:
    Subsystems(Context& context, Disks& disks) : context_(context), functions_(context, disks) {}

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
    /// A listener does not count by itself: its subsystem's numbers. A function does.
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
    /// all. What cannot be built is logged and left out; a listener, and a namespace whose volume
    /// is not there yet, is tried again later.
    Task<> rebuild(Patience& patience);
    /// Serves listeners and namespaces that could not be served at the start; true when none is
    /// left.
    Task<bool> serve_unserved();
    // What is stored, in the data plane; a namespace returns its number.
    Task<core::Result<void>> build_subsystem(const opi::NvmeSubsystem& subsystem);
    Task<core::Result<std::uint32_t>> build_namespace(const Object<opi::NvmeNamespace>& object,
                                                      const std::string& nqn);
    /// The controllers that are functions of the local host.
    HostDevices<opi::NvmeController>& functions() { return functions_; }

  private:
    Task<core::Result<opi::VolumeStats>> sum_of_namespaces(std::string subsystem);
    Task<core::Result<opi::NvmeController>> raise_function(Object<opi::NvmeController> made);
    Task<core::Result<opi::NvmeController>> open_controller(Object<opi::NvmeController> made,
                                                            std::string nqn,
                                                            reactor::Endpoint endpoint);
    Task<core::Result<void>> limit_controller(Object<opi::NvmeController> controller);
    Task<core::Result<void>> serve_late(std::string name);
    Task<core::Result<void>> listen(const Object<opi::NvmeController>& object);

    Context& context_;
    HostDevices<opi::NvmeController> functions_;
};

}  // namespace remora::control
