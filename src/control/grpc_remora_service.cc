// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_services.h"
#include "remora/v1/remora.grpc.pb.h"

namespace remora::control {

namespace {

class Service final : public api::RemoraService::Service {
  public:
    explicit Service(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(
        AttachVolume, api::AttachVolumeRequest, api::Attachment, attachments, &Attachments::attach);
    REMORA_RPC(DetachVolume, api::DetachVolumeRequest, Empty, attachments, &Attachments::detach);
    REMORA_RPC(
        GetAttachment, api::GetAttachmentRequest, api::Attachment, attachments, &Attachments::get);
    REMORA_RPC(ListAttachments,
               api::ListAttachmentsRequest,
               api::ListAttachmentsResponse,
               attachments,
               &Attachments::list);
    REMORA_RPC(
        GetStatus, api::GetStatusRequest, api::GetStatusResponse, status, &Status::get_status);
    REMORA_RPC(GetCapabilities,
               api::GetCapabilitiesRequest,
               api::Capabilities,
               overview,
               &Overview::capabilities);
    REMORA_RPC(ListVolumes,
               api::ListVolumesRequest,
               api::ListVolumesResponse,
               overview,
               &Overview::volumes);
    REMORA_RPC(ListConditions,
               api::ListConditionsRequest,
               api::ListConditionsResponse,
               conditions,
               &Conditions::list);
    grpc::Status WatchResources(grpc::ServerContext* context,
                                const api::WatchResourcesRequest* request,
                                grpc::ServerWriter<api::ResourceEvent>* writer) override {
        return dispatcher_.watch(*context, *request, [writer](const api::ResourceEvent& event) {
            return writer->Write(event);
        });
    }
    REMORA_RPC(SetPathPolicy,
               api::SetPathPolicyRequest,
               api::PathPolicySetting,
               remotes,
               &Remotes::set_path_policy);
    REMORA_RPC(SetConnectionTimings,
               api::SetConnectionTimingsRequest,
               api::ConnectionTimings,
               remotes,
               &Remotes::set_connection_timings);
    REMORA_RPC(GetVolumeStats,
               api::GetVolumeStatsRequest,
               api::VolumeStats64,
               status,
               &Status::volume_stats);
    REMORA_RPC(
        SetAnaState, api::SetAnaStateRequest, api::AnaPort, subsystems, &Subsystems::set_ana_state);
    REMORA_RPC(
        GetAnaState, api::GetAnaStateRequest, api::AnaPort, subsystems, &Subsystems::get_ana_state);
    REMORA_RPC(CreateDiscoveryReferral,
               api::CreateDiscoveryReferralRequest,
               api::DiscoveryReferral,
               referrals,
               &Referrals::create);
    REMORA_RPC(DeleteDiscoveryReferral,
               api::DeleteDiscoveryReferralRequest,
               Empty,
               referrals,
               &Referrals::remove);
    REMORA_RPC(GetDiscoveryReferral,
               api::GetDiscoveryReferralRequest,
               api::DiscoveryReferral,
               referrals,
               &Referrals::get);
    REMORA_RPC(ListDiscoveryReferrals,
               api::ListDiscoveryReferralsRequest,
               api::ListDiscoveryReferralsResponse,
               referrals,
               &Referrals::list);
    REMORA_RPC(ForgetVolumeKey,
               api::ForgetVolumeKeyRequest,
               Empty,
               encrypted_volumes,
               &EncryptedVolumes::forget_key);
    REMORA_RPC(RekeyVolume,
               api::RekeyVolumeRequest,
               api::Rekey,
               encrypted_volumes,
               &EncryptedVolumes::rekey);
    REMORA_RPC(GetRekey,
               api::GetRekeyRequest,
               api::Rekey,
               encrypted_volumes,
               &EncryptedVolumes::get_rekey);
    REMORA_RPC(RunBenchmark,
               api::RunBenchmarkRequest,
               api::RunBenchmarkResponse,
               status,
               &Status::run_benchmark);

  private:
    Dispatcher& dispatcher_;
};

}  // namespace

void add_remora_service(Dispatcher& dispatcher, Services& services) {
    services.add<api::RemoraService, Service>(dispatcher);
}

}  // namespace remora::control
