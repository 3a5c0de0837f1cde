// SPDX-License-Identifier: Apache-2.0
// Remotes: remote controllers, their paths and the namespaces that appeared, of OPI's API.
//
// A remote controller without a path is a note; its first path makes it real: the data plane
// connects, and its namespaces become volumes `{controller}n{nsid}`. More paths lead to the same
// subsystem and volumes, as its `multipath` says.
// Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class Remotes {
  public:
    explicit Remotes(Context& context) : context_(context) {}

    Task<core::Result<opi::NvmeRemoteController>> create_controller(
        const opi::CreateNvmeRemoteControllerRequest& request);
    Task<core::Result<Empty>> delete_controller(
        const opi::DeleteNvmeRemoteControllerRequest& request);
    Task<core::Result<opi::NvmeRemoteController>> update_controller(
        const opi::UpdateNvmeRemoteControllerRequest& request);
    Task<core::Result<opi::ListNvmeRemoteControllersResponse>> list_controllers(
        const opi::ListNvmeRemoteControllersRequest& request);
    Task<core::Result<opi::NvmeRemoteController>> get_controller(
        const opi::GetNvmeRemoteControllerRequest& request);
    Task<core::Result<Empty>> reset_controller(
        const opi::ResetNvmeRemoteControllerRequest& request);
    Task<core::Result<opi::StatsNvmeRemoteControllerResponse>> stats_controller(
        const opi::StatsNvmeRemoteControllerRequest& request);

    Task<core::Result<opi::ListNvmeRemoteNamespacesResponse>> list_namespaces(
        const opi::ListNvmeRemoteNamespacesRequest& request);
    Task<core::Result<opi::NvmeRemoteNamespace>> get_namespace(
        const opi::GetNvmeRemoteNamespaceRequest& request);

    /// Of a controller with several paths, how it chooses among them.
    Task<core::Result<api::ConnectionTimings>> set_connection_timings(
        const api::SetConnectionTimingsRequest& request);
    Task<core::Result<api::PathPolicySetting>> set_path_policy(
        const api::SetPathPolicyRequest& request);

    /// Returns once the path is live; one that cannot be made so leaves nothing behind.
    Task<core::Result<opi::NvmePath>> create_path(const opi::CreateNvmePathRequest& request);
    Task<core::Result<Empty>> delete_path(const opi::DeleteNvmePathRequest& request);
    Task<core::Result<opi::NvmePath>> update_path(const opi::UpdateNvmePathRequest& request);
    Task<core::Result<opi::ListNvmePathsResponse>> list_paths(
        const opi::ListNvmePathsRequest& request);
    Task<core::Result<opi::NvmePath>> get_path(const opi::GetNvmePathRequest& request);
    Task<core::Result<opi::StatsNvmePathResponse>> stats_path(
        const opi::StatsNvmePathRequest& request);

    /// Starts every stored remote controller that has a path; they connect in the background, and
    /// the volumes they had are there at once.
    Task<> rebuild();

  private:
    Task<core::Result<opi::VolumeStats>> sum_of_volumes(std::string remote_id);
    [[nodiscard]] core::Result<void> check_fits(const Object<opi::NvmeRemoteController>& controller,
                                                const opi::NvmePath& path) const;
    Task<core::Result<void>> start_path(Object<opi::NvmeRemoteController> controller,
                                        Object<opi::NvmePath>* path);
    Task<core::Result<void>> stop_path(std::string name);

    Context& context_;
};

/// What the data plane needs for a controller and its paths, which have one subsystem and host.
/// Namespaces as they were last seen.
node::RemoteSpec remote_spec(const Object<opi::NvmeRemoteController>& controller,
                             const std::vector<const Object<opi::NvmePath>*>& paths);
/// What it needs for one path.
node::RemotePathSpec path_spec(const Object<opi::NvmePath>& path);
/// The namespaces that a path shows, to be kept with it. False, and nothing kept, when it shows
/// none now.
bool keep_known_namespaces(const node::RemoteStatus& status, Object<opi::NvmePath>& path);
/// The paths of a remote controller, by name.
std::vector<const Object<opi::NvmePath>*> paths_of(const Model& model,
                                                   const std::string& controller);

/// Puts what is now known of the namespaces of the volume's remote controller beside its paths, so
/// that the volume is there again at once after a restart. Nothing for a local volume.
void keep_remote_namespaces(const Context& context,
                            const std::string& remote_controller,
                            Transaction& transaction);

}  // namespace remora::control
