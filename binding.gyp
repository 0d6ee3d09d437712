# The addon `build/Release/weft.node`: every C++ source of the switch plus its Node-API binding. native/CMakeLists.txt builds the same
# sources, without Node.js, for tests and fuzzing. Node-API 8 is in every Node.js from 12.22 on, so one build serves 20 to 26.
{
  "targets": [
    {
      "target_name": "weft",
      "sources": [
        "<!@(node -p \"require('fs').readdirSync('native').filter(d=>!['test','fuzz','supervise','cni','generated','generate'].includes(d)&&require('fs').statSync('native/'+d).isDirectory()).flatMap(d=>require('fs').readdirSync('native/'+d).filter(f=>f.endsWith('.cc')).map(f=>'native/'+d+'/'+f)).sort().join('\\n')\")"
      ],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "cflags!": ["-Wno-unused-parameter", "-O3"],
      "cflags_cc!": ["-std=gnu++14", "-std=gnu++17", "-std=gnu++20", "-fno-rtti"],
      "cflags_cc": ["-std=c++20", "-O2", "-flto=auto", "-g1", "-fvisibility=hidden", "-fno-omit-frame-pointer", "-Wall", "-Wextra"],
      # A packet passes through a dozen small functions in as many files: inlined across them it costs an eighth fewer instructions.
      "ldflags": ["-flto=auto", "-O2"]
    }
  ]
}
