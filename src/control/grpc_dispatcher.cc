// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_dispatcher.h"

#include <google/protobuf/descriptor.h>

#include "control/audit_text.h"
#include "core/check.h"
#include "remora/v1/remora.pb.h"

namespace remora::control {

namespace {

/// Each request is that of one method only, in a service of the same file.
const google::protobuf::MethodDescriptor* find_method(const char* name,
                                                      const google::protobuf::Descriptor& request) {
    const google::protobuf::FileDescriptor& file = *request.file();
    for (int i = 0; i < file.service_count(); ++i) {
        const auto* method = file.service(i)->FindMethodByName(name);
        if (method != nullptr && method->input_type() == &request) {
            return method;
        }
    }
    return nullptr;
}

/// The one call that asks as well as changes: it asks when it has nothing to set.
bool only_asks(const google::protobuf::Message& request) {
    const auto* timings = dynamic_cast<const api::SetConnectionTimingsRequest*>(&request);
    return timings != nullptr && !timings->has_connect_ms() && !timings->has_keep_alive_ms() &&
           !timings->has_io_ms() && !timings->has_reconnect_max_ms();
}

}  // namespace

core::Result<AuditEntry> Dispatcher::begin_audit(const char* name,
                                                 const grpc::ServerContext& context,
                                                 const google::protobuf::Message& request) {
    const auto* method = find_method(name, *request.GetDescriptor());
    CHECK(method != nullptr);
    if (audit_ == nullptr || !is_audited(*method) || only_asks(request)) {
        return AuditEntry();
    }
    return audit_->begin(caller_of(context, mark_.is_on(context)), *method, request);
}

}  // namespace remora::control
