// SPDX-License-Identifier: Apache-2.0
// Services that a test makes up, with HTTP rules of its own and messages of this build.
#pragma once

#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include "google/api/annotations.pb.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/frontend_nvme.pb.h"

namespace remora::test {

struct MadeCall {
    std::string name;
    std::string verb;
    std::string path;
    std::string body = {};
    std::string request = "remora.v1.AttachVolumeRequest";
    std::string response = "remora.v1.Attachment";
    std::vector<std::pair<std::string, std::string>> more = {};  ///< Additional verbs and paths.
    std::string response_body = {};
};

class MadeServices {
  public:
    const google::protobuf::ServiceDescriptor* add(const std::string& name,
                                                   const std::vector<MadeCall>& calls) {
        google::protobuf::FileDescriptorProto file;
        file.set_name(name + ".proto");
        file.set_package("made");
        file.set_syntax("proto3");
        // Naming the messages keeps their descriptors in the program.
        for (const auto* used : {remora::v1::Attachment::descriptor(),
                                 opi_api::storage::v1::MallocVolume::descriptor(),
                                 opi_api::storage::v1::NvmeSubsystem::descriptor()}) {
            file.add_dependency(used->file()->name());
        }
        auto& service = *file.add_service();
        service.set_name(name);
        for (const MadeCall& call : calls) {
            auto& method = *service.add_method();
            method.set_name(call.name);
            method.set_input_type("." + call.request);
            method.set_output_type("." + call.response);
            auto& rule = *method.mutable_options()->MutableExtension(google::api::http);
            set(rule, call.verb, call.path);
            rule.set_body(call.body);
            rule.set_response_body(call.response_body);
            for (const auto& [verb, path] : call.more) {
                set(*rule.add_additional_bindings(), verb, path);
            }
        }
        const auto* built = pool_.BuildFile(file);
        return built == nullptr ? nullptr : built->service(0);
    }

  private:
    static void set(google::api::HttpRule& rule, const std::string& verb, const std::string& path) {
        if (verb == "GET") {
            rule.set_get(path);
        } else if (verb == "POST") {
            rule.set_post(path);
        } else if (verb == "PUT") {
            rule.set_put(path);
        } else if (verb == "PATCH") {
            rule.set_patch(path);
        } else if (verb == "DELETE") {
            rule.set_delete_(path);
        } else if (!verb.empty()) {
            rule.mutable_custom()->set_kind(verb);
            rule.mutable_custom()->set_path(path);
        }
    }

    google::protobuf::DescriptorPool pool_{google::protobuf::DescriptorPool::generated_pool()};
};

}  // namespace remora::test
