// SPDX-License-Identifier: Apache-2.0
// remora.v1's storage services.
#include "control/grpc_services.h"
#include "remora/v1/fault.grpc.pb.h"
#include "remora/v1/integrity.grpc.pb.h"
#include "remora/v1/qos.grpc.pb.h"
#include "remora/v1/raid.grpc.pb.h"

namespace remora::control {

namespace {

class OwnRaidService final : public api::RaidService::Service {
  public:
    explicit OwnRaidService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateRaidVolume,
               api::CreateRaidVolumeRequest,
               api::RaidVolume,
               raid_volumes,
               &RaidVolumes::create);
    REMORA_RPC(
        DeleteRaidVolume, api::DeleteRaidVolumeRequest, Empty, raid_volumes, &RaidVolumes::remove);
    REMORA_RPC(UpdateRaidVolume,
               api::UpdateRaidVolumeRequest,
               api::RaidVolume,
               raid_volumes,
               &RaidVolumes::update);
    REMORA_RPC(ListRaidVolumes,
               api::ListRaidVolumesRequest,
               api::ListRaidVolumesResponse,
               raid_volumes,
               &RaidVolumes::list);
    REMORA_RPC(
        GetRaidVolume, api::GetRaidVolumeRequest, api::RaidVolume, raid_volumes, &RaidVolumes::get);
    REMORA_RPC(StatsRaidVolume,
               api::StatsRaidVolumeRequest,
               api::StatsRaidVolumeResponse,
               raid_volumes,
               &RaidVolumes::stats);
    REMORA_RPC(ReplaceRaidMember,
               api::ReplaceRaidMemberRequest,
               api::RaidVolume,
               raid_volumes,
               &RaidVolumes::replace_member);
    REMORA_RPC(RemoveRaidMember,
               api::RemoveRaidMemberRequest,
               api::RaidVolume,
               raid_volumes,
               &RaidVolumes::remove_member);
    REMORA_RPC(ScrubRaidVolume,
               api::ScrubRaidVolumeRequest,
               api::RaidVolume,
               raid_volumes,
               &RaidVolumes::scrub);

  private:
    Dispatcher& dispatcher_;
};

class OwnIntegrityService final : public api::IntegrityService::Service {
  public:
    explicit OwnIntegrityService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateIntegrityVolume,
               api::CreateIntegrityVolumeRequest,
               api::IntegrityVolume,
               integrity_volumes,
               &IntegrityVolumes::create);
    REMORA_RPC(DeleteIntegrityVolume,
               api::DeleteIntegrityVolumeRequest,
               Empty,
               integrity_volumes,
               &IntegrityVolumes::remove);
    REMORA_RPC(UpdateIntegrityVolume,
               api::UpdateIntegrityVolumeRequest,
               api::IntegrityVolume,
               integrity_volumes,
               &IntegrityVolumes::update);
    REMORA_RPC(ListIntegrityVolumes,
               api::ListIntegrityVolumesRequest,
               api::ListIntegrityVolumesResponse,
               integrity_volumes,
               &IntegrityVolumes::list);
    REMORA_RPC(GetIntegrityVolume,
               api::GetIntegrityVolumeRequest,
               api::IntegrityVolume,
               integrity_volumes,
               &IntegrityVolumes::get);
    REMORA_RPC(StatsIntegrityVolume,
               api::StatsIntegrityVolumeRequest,
               api::StatsIntegrityVolumeResponse,
               integrity_volumes,
               &IntegrityVolumes::stats);
    REMORA_RPC(ScrubIntegrityVolume,
               api::ScrubIntegrityVolumeRequest,
               api::IntegrityVolume,
               integrity_volumes,
               &IntegrityVolumes::scrub);

  private:
    Dispatcher& dispatcher_;
};

class OwnFaultInjectionService final : public api::FaultInjectionService::Service {
  public:
    explicit OwnFaultInjectionService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateFaultInjection,
               api::CreateFaultInjectionRequest,
               api::FaultInjection,
               fault_injections,
               &FaultInjections::create);
    REMORA_RPC(DeleteFaultInjection,
               api::DeleteFaultInjectionRequest,
               Empty,
               fault_injections,
               &FaultInjections::remove);
    REMORA_RPC(UpdateFaultInjection,
               api::UpdateFaultInjectionRequest,
               api::FaultInjection,
               fault_injections,
               &FaultInjections::update);
    REMORA_RPC(ListFaultInjections,
               api::ListFaultInjectionsRequest,
               api::ListFaultInjectionsResponse,
               fault_injections,
               &FaultInjections::list);
    REMORA_RPC(GetFaultInjection,
               api::GetFaultInjectionRequest,
               api::FaultInjection,
               fault_injections,
               &FaultInjections::get);

  private:
    Dispatcher& dispatcher_;
};

class OwnQosService final : public api::QosService::Service {
  public:
    explicit OwnQosService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(
        CreateCapacity, api::CreateCapacityRequest, api::Capacity, capacities, &Capacities::create);
    REMORA_RPC(DeleteCapacity, api::DeleteCapacityRequest, Empty, capacities, &Capacities::remove);
    REMORA_RPC(
        UpdateCapacity, api::UpdateCapacityRequest, api::Capacity, capacities, &Capacities::update);
    REMORA_RPC(ListCapacities,
               api::ListCapacitiesRequest,
               api::ListCapacitiesResponse,
               capacities,
               &Capacities::list);
    REMORA_RPC(GetCapacity, api::GetCapacityRequest, api::Capacity, capacities, &Capacities::get);
    REMORA_RPC(GetThrottling,
               api::GetThrottlingRequest,
               api::Throttling,
               capacities,
               &Capacities::throttling);

  private:
    Dispatcher& dispatcher_;
};

}  // namespace

void add_own_services(Dispatcher& dispatcher, Services& services) {
    services.add<api::RaidService, OwnRaidService>(dispatcher);
    services.add<api::IntegrityService, OwnIntegrityService>(dispatcher);
    services.add<api::FaultInjectionService, OwnFaultInjectionService>(dispatcher);
    services.add<api::QosService, OwnQosService>(dispatcher);
}

}  // namespace remora::control
