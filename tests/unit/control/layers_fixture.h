// SPDX-License-Identifier: Apache-2.0
// LayersTest: arrays, volumes with checksums and fault injections over fakes.
#pragma once

#include <initializer_list>
#include <string>

#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

using control::ControlPlane;
using control::FaultInjections;
using control::IntegrityVolumes;
using control::RaidVolumes;
using google::protobuf::Empty;

#define EXPECT_REFUSED(expression, error_kind, text)                                           \
    do {                                                                                       \
        const auto& refused = (expression);                                                    \
        EXPECT_FALSE(refused.has_value());                                                     \
        if (!refused) {                                                                        \
            EXPECT_EQ(refused.error().kind, ErrorKind::error_kind) << refused.error().message; \
            EXPECT_NE(refused.error().message.find(text), std::string::npos)                   \
                << refused.error().message;                                                    \
        }                                                                                      \
    } while (false)

class LayersTest : public PlaneFixture {
  public:
    LayersTest() {
        for (const char* id : {"m0", "m1", "m2", "m3", "m4"}) {
            EXPECT_TRUE(create_malloc(id));
        }
    }

    static api::RaidVolume array_of(api::RaidLevel level,
                                    std::initializer_list<const char*> members,
                                    std::initializer_list<const char*> spares = {}) {
        api::RaidVolume out;
        out.set_level(level);
        for (const char* member : members) {
            out.add_members(member);
        }
        for (const char* spare : spares) {
            out.add_spares(spare);
        }
        return out;
    }
    Result<api::RaidVolume> create_array(const std::string& id,
                                         const api::RaidVolume& array,
                                         bool overwrite = false) {
        api::CreateRaidVolumeRequest request;
        request.set_raid_volume_id(id);
        *request.mutable_raid_volume() = array;
        request.set_overwrite(overwrite);
        return call(&ControlPlane::raid_volumes, &RaidVolumes::create, request);
    }
    Result<api::RaidVolume> get_array(const std::string& name) {
        api::GetRaidVolumeRequest request;
        request.set_name(name);
        return call(&ControlPlane::raid_volumes, &RaidVolumes::get, request);
    }
    Result<Empty> delete_array(const std::string& name, bool allow_missing = false) {
        api::DeleteRaidVolumeRequest request;
        request.set_name(name);
        request.set_allow_missing(allow_missing);
        return call(&ControlPlane::raid_volumes, &RaidVolumes::remove, request);
    }
    Result<api::RaidVolume> update_array(api::RaidVolume array,
                                         std::initializer_list<const char*> mask = {}) {
        api::UpdateRaidVolumeRequest request;
        *request.mutable_raid_volume() = std::move(array);
        for (const char* path : mask) {
            request.mutable_update_mask()->add_paths(path);
        }
        return call(&ControlPlane::raid_volumes, &RaidVolumes::update, request);
    }
    Result<api::RaidVolume> replace(const std::string& name,
                                    const std::string& member,
                                    const std::string& with) {
        api::ReplaceRaidMemberRequest request;
        request.set_name(name);
        request.set_member(member);
        request.set_replacement(with);
        return call(&ControlPlane::raid_volumes, &RaidVolumes::replace_member, request);
    }
    Result<api::RaidVolume> take_away(const std::string& name, const std::string& member) {
        api::RemoveRaidMemberRequest request;
        request.set_name(name);
        request.set_member(member);
        return call(&ControlPlane::raid_volumes, &RaidVolumes::remove_member, request);
    }

    Result<api::IntegrityVolume> create_checked(const std::string& id, const std::string& volume) {
        api::CreateIntegrityVolumeRequest request;
        request.set_integrity_volume_id(id);
        request.mutable_integrity_volume()->set_volume_name_ref(volume);
        return call(&ControlPlane::integrity_volumes, &IntegrityVolumes::create, request);
    }
    Result<api::IntegrityVolume> get_checked(const std::string& name) {
        api::GetIntegrityVolumeRequest request;
        request.set_name(name);
        return call(&ControlPlane::integrity_volumes, &IntegrityVolumes::get, request);
    }

    static api::FaultInjection slow_reads(const std::string& volume) {
        api::FaultInjection out;
        out.set_volume_name_ref(volume);
        api::DelayRule& rule = *out.add_delays();
        rule.mutable_scope()->add_operations(api::FaultScope::OPERATION_READ);
        rule.mutable_mean()->set_nanos(5'000'000);
        return out;
    }
    Result<api::FaultInjection> create_fault(const std::string& id,
                                             const api::FaultInjection& fault) {
        api::CreateFaultInjectionRequest request;
        request.set_fault_injection_id(id);
        *request.mutable_fault_injection() = fault;
        return call(&ControlPlane::fault_injections, &FaultInjections::create, request);
    }
    Result<api::FaultInjection> update_fault(const api::FaultInjection& fault,
                                             std::initializer_list<const char*> mask = {}) {
        api::UpdateFaultInjectionRequest request;
        *request.mutable_fault_injection() = fault;
        for (const char* path : mask) {
            request.mutable_update_mask()->add_paths(path);
        }
        return call(&ControlPlane::fault_injections, &FaultInjections::update, request);
    }
    Result<Empty> delete_fault(const std::string& name) {
        api::DeleteFaultInjectionRequest request;
        request.set_name(name);
        return call(&ControlPlane::fault_injections, &FaultInjections::remove, request);
    }
    Result<Empty> delete_malloc(const std::string& name) {
        opi::DeleteMallocVolumeRequest request;
        request.set_name(name);
        return call(&ControlPlane::volumes, &control::Volumes::delete_malloc, request);
    }
    /// Lets the reconciler look a few times.
    void settle() {
        run([]() -> Task<> { co_await reactor::sleep_for(std::chrono::milliseconds(30)); });
    }
};

}  // namespace remora::test
