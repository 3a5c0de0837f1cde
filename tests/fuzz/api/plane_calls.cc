// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/api/plane_calls.h"

#include <algorithm>
#include <utility>

namespace remora::fuzz {

namespace {

using control::ControlPlane;
using core::Result;
using google::protobuf::Message;
using reactor::Task;

template <typename Part, typename Request, typename Response>
Task<Result<MessagePtr>> run(Part* part,
                             Task<Result<Response>> (Part::*method)(const Request&),
                             Request request) {
    auto answer = co_await (part->*method)(request);
    if (!answer) {
        co_return std::unexpected(answer.error());
    }
    MessagePtr response = std::make_unique<Response>(std::move(*answer));
    co_return response;
}

/// A method is called as its request is, without "Request".
template <typename Part, typename Request, typename Response>
PlaneCall of(Part ControlPlane::* part, Task<Result<Response>> (Part::*method)(const Request&)) {
    constexpr std::size_t kRequest = 7;
    PlaneCall call;
    call.method = Request::descriptor()->name();
    call.method.resize(call.method.size() - kRequest);
    call.request = &Request::default_instance();
    call.run = [part, method](ControlPlane& plane, const Message& request) {
        return run(&(plane.*part), method, dynamic_cast<const Request&>(request));
    };
    return call;
}

std::vector<PlaneCall> backend_calls() {
    return {
        of(&ControlPlane::volumes, &control::Volumes::create_malloc),
        of(&ControlPlane::volumes, &control::Volumes::delete_malloc),
        of(&ControlPlane::volumes, &control::Volumes::update_malloc),
        of(&ControlPlane::volumes, &control::Volumes::list_malloc),
        of(&ControlPlane::volumes, &control::Volumes::get_malloc),
        of(&ControlPlane::volumes, &control::Volumes::stats_malloc),
        of(&ControlPlane::volumes, &control::Volumes::create_null),
        of(&ControlPlane::volumes, &control::Volumes::delete_null),
        of(&ControlPlane::volumes, &control::Volumes::update_null),
        of(&ControlPlane::volumes, &control::Volumes::list_null),
        of(&ControlPlane::volumes, &control::Volumes::get_null),
        of(&ControlPlane::volumes, &control::Volumes::stats_null),
        of(&ControlPlane::volumes, &control::Volumes::create_aio),
        of(&ControlPlane::volumes, &control::Volumes::delete_aio),
        of(&ControlPlane::volumes, &control::Volumes::update_aio),
        of(&ControlPlane::volumes, &control::Volumes::list_aio),
        of(&ControlPlane::volumes, &control::Volumes::get_aio),
        of(&ControlPlane::volumes, &control::Volumes::stats_aio),
        of(&ControlPlane::remotes, &control::Remotes::create_controller),
        of(&ControlPlane::remotes, &control::Remotes::delete_controller),
        of(&ControlPlane::remotes, &control::Remotes::update_controller),
        of(&ControlPlane::remotes, &control::Remotes::list_controllers),
        of(&ControlPlane::remotes, &control::Remotes::get_controller),
        of(&ControlPlane::remotes, &control::Remotes::stats_controller),
        of(&ControlPlane::remotes, &control::Remotes::reset_controller),
        of(&ControlPlane::remotes, &control::Remotes::list_namespaces),
        of(&ControlPlane::remotes, &control::Remotes::get_namespace),
        of(&ControlPlane::remotes, &control::Remotes::create_path),
        of(&ControlPlane::remotes, &control::Remotes::delete_path),
        of(&ControlPlane::remotes, &control::Remotes::update_path),
        of(&ControlPlane::remotes, &control::Remotes::list_paths),
        of(&ControlPlane::remotes, &control::Remotes::get_path),
        of(&ControlPlane::remotes, &control::Remotes::stats_path),
    };
}

std::vector<PlaneCall> frontend_calls() {
    return {
        of(&ControlPlane::subsystems, &control::Subsystems::create_subsystem),
        of(&ControlPlane::subsystems, &control::Subsystems::delete_subsystem),
        of(&ControlPlane::subsystems, &control::Subsystems::update_subsystem),
        of(&ControlPlane::subsystems, &control::Subsystems::list_subsystems),
        of(&ControlPlane::subsystems, &control::Subsystems::get_subsystem),
        of(&ControlPlane::subsystems, &control::Subsystems::stats_subsystem),
        of(&ControlPlane::subsystems, &control::Subsystems::create_controller),
        of(&ControlPlane::subsystems, &control::Subsystems::delete_controller),
        of(&ControlPlane::subsystems, &control::Subsystems::update_controller),
        of(&ControlPlane::subsystems, &control::Subsystems::list_controllers),
        of(&ControlPlane::subsystems, &control::Subsystems::get_controller),
        of(&ControlPlane::subsystems, &control::Subsystems::stats_controller),
        of(&ControlPlane::subsystems, &control::Subsystems::create_namespace),
        of(&ControlPlane::subsystems, &control::Subsystems::delete_namespace),
        of(&ControlPlane::subsystems, &control::Subsystems::update_namespace),
        of(&ControlPlane::subsystems, &control::Subsystems::list_namespaces),
        of(&ControlPlane::subsystems, &control::Subsystems::get_namespace),
        of(&ControlPlane::subsystems, &control::Subsystems::stats_namespace),
        of(&ControlPlane::virtio_blks, &control::VirtioBlks::create),
        of(&ControlPlane::virtio_blks, &control::VirtioBlks::remove),
        of(&ControlPlane::virtio_blks, &control::VirtioBlks::update),
        of(&ControlPlane::virtio_blks, &control::VirtioBlks::list),
        of(&ControlPlane::virtio_blks, &control::VirtioBlks::get),
        of(&ControlPlane::virtio_blks, &control::VirtioBlks::stats),
    };
}

std::vector<PlaneCall> other_calls() {
    return {
        of(&ControlPlane::qos_volumes, &control::QosVolumes::create),
        of(&ControlPlane::qos_volumes, &control::QosVolumes::remove),
        of(&ControlPlane::qos_volumes, &control::QosVolumes::update),
        of(&ControlPlane::qos_volumes, &control::QosVolumes::list),
        of(&ControlPlane::qos_volumes, &control::QosVolumes::get),
        of(&ControlPlane::qos_volumes, &control::QosVolumes::stats),
        of(&ControlPlane::attachments, &control::Attachments::attach),
        of(&ControlPlane::attachments, &control::Attachments::detach),
        of(&ControlPlane::attachments, &control::Attachments::get),
        of(&ControlPlane::attachments, &control::Attachments::list),
        of(&ControlPlane::status, &control::Status::get_status),
        of(&ControlPlane::overview, &control::Overview::capabilities),
        of(&ControlPlane::overview, &control::Overview::volumes),
        of(&ControlPlane::conditions, &control::Conditions::list),
        of(&ControlPlane::remotes, &control::Remotes::set_path_policy),
        of(&ControlPlane::remotes, &control::Remotes::set_connection_timings),
        of(&ControlPlane::status, &control::Status::volume_stats),
        of(&ControlPlane::subsystems, &control::Subsystems::set_ana_state),
        of(&ControlPlane::subsystems, &control::Subsystems::get_ana_state),
        of(&ControlPlane::referrals, &control::Referrals::create),
        of(&ControlPlane::referrals, &control::Referrals::remove),
        of(&ControlPlane::referrals, &control::Referrals::get),
        of(&ControlPlane::referrals, &control::Referrals::list),
        of(&ControlPlane::status, &control::Status::run_benchmark),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::create),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::remove),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::update),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::list),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::get),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::stats),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::create_target),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::remove_target),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::update_target),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::list_targets),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::get_target),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::stats_target),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::create_controller),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::remove_controller),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::update_controller),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::list_controllers),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::get_controller),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::stats_controller),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::create_lun),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::remove_lun),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::update_lun),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::list_luns),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::get_lun),
        of(&ControlPlane::virtio_scsis, &control::VirtioScsis::stats_lun),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::forget_key),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::rekey),
        of(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::get_rekey),
    };
}

std::vector<PlaneCall> layer_calls() {
    return {
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::create),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::remove),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::update),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::list),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::get),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::stats),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::replace_member),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::remove_member),
        of(&ControlPlane::raid_volumes, &control::RaidVolumes::scrub),
        of(&ControlPlane::integrity_volumes, &control::IntegrityVolumes::create),
        of(&ControlPlane::integrity_volumes, &control::IntegrityVolumes::remove),
        of(&ControlPlane::integrity_volumes, &control::IntegrityVolumes::update),
        of(&ControlPlane::integrity_volumes, &control::IntegrityVolumes::list),
        of(&ControlPlane::integrity_volumes, &control::IntegrityVolumes::get),
        of(&ControlPlane::integrity_volumes, &control::IntegrityVolumes::stats),
        of(&ControlPlane::integrity_volumes, &control::IntegrityVolumes::scrub),
        of(&ControlPlane::fault_injections, &control::FaultInjections::create),
        of(&ControlPlane::fault_injections, &control::FaultInjections::remove),
        of(&ControlPlane::fault_injections, &control::FaultInjections::update),
        of(&ControlPlane::fault_injections, &control::FaultInjections::list),
        of(&ControlPlane::fault_injections, &control::FaultInjections::get),
        of(&ControlPlane::capacities, &control::Capacities::create),
        of(&ControlPlane::capacities, &control::Capacities::remove),
        of(&ControlPlane::capacities, &control::Capacities::update),
        of(&ControlPlane::capacities, &control::Capacities::list),
        of(&ControlPlane::capacities, &control::Capacities::get),
        of(&ControlPlane::capacities, &control::Capacities::throttling),
    };
}

std::vector<PlaneCall> all_calls() {
    std::vector<PlaneCall> all = backend_calls();
    for (auto& more : {frontend_calls(), layer_calls(), other_calls()}) {
        all.insert(all.end(), more.begin(), more.end());
    }
    return all;
}

}  // namespace

const std::vector<PlaneCall>& plane_calls() {
    static const std::vector<PlaneCall> all = all_calls();
    return all;
}

const PlaneCall* find_call(const std::string& method) {
    const auto found = std::ranges::find(plane_calls(), method, &PlaneCall::method);
    return found == plane_calls().end() ? nullptr : &*found;
}

}  // namespace remora::fuzz
