// SPDX-License-Identifier: Apache-2.0
// NamespaceFixture: a control plane with one namespace, for what hosts want kept beside it.
#pragma once

#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

constexpr const char* kSubsystemNqn = "nqn.2024-01.org.example:s0";
constexpr const char* kSpace = "nvmeSubsystems/s0/nvmeNamespaces/n0";

class NamespaceFixture : public PlaneFixture {
  public:
    using ControlPlane = control::ControlPlane;
    using Subsystems = control::Subsystems;

    void SetUp() override {
        ASSERT_TRUE(create_malloc("m0"));
        opi::CreateNvmeSubsystemRequest subsystem;
        subsystem.set_nvme_subsystem_id("s0");
        subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn(kSubsystemNqn);
        ASSERT_TRUE(call(&ControlPlane::subsystems, &Subsystems::create_subsystem, subsystem));
        ASSERT_TRUE(create_namespace());
    }
    Result<opi::NvmeNamespace> create_namespace() {
        opi::CreateNvmeNamespaceRequest request;
        request.set_parent("nvmeSubsystems/s0");
        request.set_nvme_namespace_id("n0");
        request.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref("m0");
        return call(&ControlPlane::subsystems, &Subsystems::create_namespace, request);
    }
    Result<google::protobuf::Empty> delete_namespace() {
        opi::DeleteNvmeNamespaceRequest request;
        request.set_name(kSpace);
        return call(&ControlPlane::subsystems, &Subsystems::delete_namespace, request);
    }
    /// What the data plane was given with the namespace.
    node::NamespaceSpec& built_space() { return node->namespaces.at({kSubsystemNqn, 1}); }
    /// Changes the stored record of the namespace, as damage would.
    template <typename F>
    void damage(F change_record) {
        const auto bodies = store.load();
        ASSERT_TRUE(bodies);
        for (const control::StoredObject& object : *bodies) {
            if (object.kind == control::Kind::NvmeNamespace) {
                control::state::Record record;
                ASSERT_TRUE(record.ParseFromString(object.body));
                change_record(record);
                const control::Change change{
                    control::Change::Action::Put,
                    {object.kind, object.name, record.SerializeAsString()}};
                ASSERT_TRUE(store.commit(std::span(&change, 1)));
            }
        }
    }
};

}  // namespace remora::test
